"""Following a channel from a thread: the last read, failures, and when a read is overdue.

What belongs here: the thread and its status. What does not: how a channel is followed (`predictor`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType

from nba_ml.contract.errors import NbaMlError, SettingsError

GRACE_SECONDS = 10.0
"""Added to two intervals before a read is overdue: a model takes seconds to load."""

AGAIN_SECONDS = 60.0
"""Maximum time from a failed read to the next one."""

_DAY = 86_400
"""Seconds."""


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """The state of following a channel. Times are UTC.

    `checked_at` is the last time that the channel was read and followed, `swapped_at` the last time that it named
    another model. `failure` is the error of the last refresh, None if it succeeded; `failures` counts failures
    in a row, `failures_ever` all of them.
    """

    channel: str
    seconds: float
    checked_at: datetime | None = None
    swapped_at: datetime | None = None
    failure: str | None = None
    failed_at: datetime | None = None
    failures: int = 0
    failures_ever: int = 0


def require_period(seconds: float) -> None:
    """Check the time between two reads of a channel.

    Raises:
        SettingsError: it is not above 0 s, over a day, or not a number.
    """
    if not 0 < seconds <= _DAY:  # also refuses NaN
        raise SettingsError(
            f"A channel cannot be read every {seconds} seconds. Give a number above 0 and at most {_DAY:,}, a day."
        )


class Watch:
    """A thread that follows a channel. A context manager: leaving it stops the thread.

    Args:
        refresh: reads the channel once and follows it; returns whether another model serves now.
        checked_at: when the channel was last read, UTC.
        tell: called in the thread after each swap, each failure and each recovery. It must not raise.
    """

    def __init__(
        self,
        refresh: Callable[[str], bool],
        channel: str,
        seconds: float,
        *,
        checked_at: datetime,
        tell: Callable[[WatchStatus], object] | None = None,
    ) -> None:
        require_period(seconds)
        self._refresh = refresh
        self._tell = tell
        self._status = WatchStatus(channel, seconds, checked_at=checked_at)
        self._followed = monotonic()
        self._stopped = threading.Event()
        # A daemon: a store that does not respond must not keep a worker from ending.
        self._thread = threading.Thread(target=self._run, name=f"watch-{channel}", daemon=True)
        self._thread.start()

    @property
    def status(self) -> WatchStatus:
        return self._status

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def overdue(self) -> bool:
        """Whether no read has succeeded for two intervals and a grace time, since the watch started.

        Then the channel may name another model, though no read has failed yet: the current one is still waiting.
        """
        return monotonic() - self._followed > 2 * self._status.seconds + GRACE_SECONDS

    @property
    def pause(self) -> float:
        """Seconds to the next read, at most `AGAIN_SECONDS` after a failure."""
        seconds = self._status.seconds
        return seconds if self._status.failure is None else min(seconds, AGAIN_SECONDS)

    def stop(self, within: float = 5.0) -> None:
        """End the watch; wait for the thread at most so many seconds."""
        self._stopped.set()
        self._thread.join(within)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopped.wait(self.pause):
            self._check()

    def _check(self) -> None:
        before = self._status
        try:
            swapped = self._refresh(before.channel)
        except NbaMlError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 (the watch goes on and reports it: a dead one would look healthy)
            self._failed(f"{type(error).__name__}: {error}")
        else:
            now = datetime.now(UTC)
            self._followed = monotonic()
            self._status = replace(
                before,
                checked_at=now,
                swapped_at=now if swapped else before.swapped_at,
                failure=None,
                failed_at=None,
                failures=0,
            )
            if swapped or before.failure:
                self._say()

    def _failed(self, failure: str) -> None:
        self._status = replace(
            self._status,
            failure=failure,
            failed_at=datetime.now(UTC),
            failures=self._status.failures + 1,
            failures_ever=self._status.failures_ever + 1,
        )
        self._say()

    def _say(self) -> None:
        if self._tell is not None:
            self._tell(self._status)
