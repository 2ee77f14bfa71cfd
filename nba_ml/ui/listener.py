"""The UI's socket, bound before Dagster is imported and anything is started: a port in use is reported at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from nba_ml.contract.errors import UiError


@contextmanager
def listening_on(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on that port of the address; closed afterwards.

    Raises:
        UiError: the port is in use, or not this user's to use, or the address is not this machine's.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name can have
        number = getattr(error, "errno", None) or 0
        # Python adds the address to the system's words, and an unknown name's number is not the system's.
        reason = os.strerror(number) if number > 0 else str(error)
        raise UiError(
            f"Port {port} of {host} cannot be used: {reason}. End the program that uses it, or choose another with "
            "--port."
        ) from error
    with listener:
        yield listener
