"""The state of the channel that a worker served last, in a file: what a restarted worker must not fall behind.

A running worker refuses a state that is older than the one in use. One that starts knows nothing of it, and an old copy
of the pointer has a signature that is valid until it expires. With this file it refuses the copy too.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from nba_ml.contract.errors import ChannelError, SettingsError
from nba_ml.contract.limits import STATE_BYTES
from nba_ml.contract.reading import read_file
from nba_ml.registry.channel import Channel


class ChannelMemory:
    """The newest state of one channel that was served, kept in `file`. `pointer` is the address of the channel."""

    def __init__(self, file: Path, pointer: str) -> None:
        self._file, self._pointer = file, pointer

    def read(self) -> Channel | None:
        """The state that was served last; None if there was none yet.

        Raises:
            SettingsError: the file cannot be read, is damaged, or is that of another channel.
        """
        try:
            content = json.loads(read_file(self._file, 2 * STATE_BYTES))
            pointer, state = content["pointer"], Channel.model_validate(content["state"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(
                f"{self._file} cannot be read: {error.strerror or error}. Name a file that this process may read and "
                "write; it need not exist yet."
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SettingsError(
                f"{self._file} is damaged. Compare `nba-ml champion show` with what should serve, remove the file, and "
                "start again."
            ) from error
        if pointer != self._pointer:
            raise SettingsError(f"{self._file} is of {pointer}, not of {self._pointer}. Name a file for each channel.")
        return state

    def require_no_older(self, found: Channel) -> None:
        """Require that a state is the one that was served last, or a later one.

        Raises:
            ChannelError: it is not.
            SettingsError: as `read`.
        """
        last = self.read()
        if last is None or found.is_or_follows(last):
            return
        raise ChannelError(
            f"{self._pointer} is at serial {found.serial} ({found.champion.model_id}), and this worker served serial "
            f"{last.serial} ({last.champion.model_id}) before, as {self._file} says: an old copy was put back. Restore "
            "the newest state from channels/history/. If the channel was recreated on purpose, remove the file."
        )

    def keep(self, state: Channel) -> None:
        """Write a state, whole or not at all; a later one, of another worker with this file, stays.

        Raises:
            SettingsError: the file cannot be written; as `read`.
        """
        last = self.read()
        if last is not None and last.serial > state.serial:
            return
        content = {"pointer": self._pointer, "state": state.model_dump(mode="json")}
        temporary = None
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, prefix=".channel_", delete=False) as file:
                temporary = Path(file.name)
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
        except OSError as error:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink()
            raise SettingsError(f"{self._file} cannot be written: {error.strerror or error}.") from error
