"""The UI's socket, bound before Dagster is imported and anything is started: a port in use is reported at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from nba_ml.contract.errors import UiError

LOOPBACK = "127.0.0.1"


@contextmanager
def loopback_listener(port: int) -> Iterator[socket.socket]:
    """A socket that listens on that port of loopback; closed afterwards.

    Raises:
        UiError: the port is in use, or not this user's to use.
    """
    try:
        listener = socket.create_server((LOOPBACK, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UiError(
            f"Port {port} of {LOOPBACK} cannot be used: {reason}. End the program that uses it, or choose another "
            "with --port."
        ) from error
    with listener:
        yield listener
