"""Notice Ctrl-C even if other code handles or swallows it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def signals_noticed() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM arrived since, whoever handled it.

    During a run Dagster handles both itself: inside a step they fail the step, between two steps they wait
    for the next, and after the last they are dropped. Python's wakeup descriptor receives all of them.
    """
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    noticed = bytearray()

    def interrupted() -> bool:
        with suppress(BlockingIOError):  # nothing came
            noticed.extend(os.read(readable, 4096))
        return signal.SIGINT in noticed or signal.SIGTERM in noticed

    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(before)
        os.close(writable)
        os.close(readable)
