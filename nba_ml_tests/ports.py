"""Ports of 127.0.0.1 for servers that take only a number, and bind it when they get to it.

A port that the kernel gave and that was closed again is anybody's until then: of each connection that this machine
makes, of the other worker's servers, of another run of the suite. So these lie below the range out of which the
kernel gives (Linux: from 32768, others: from 49152), and each is locked as long as the process lives that asked.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import psutil

FIRST, LAST = 20_000, 32_000

_locks: list[IO[bytes]] = []
"""Held until this process ends, however it ends."""


def free_port() -> int:
    """A port where nobody listens, and that no other call of this function gives while this process lives."""
    folder = Path(tempfile.gettempdir()) / f"nba_ml_test_ports_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    # Not pytest's or Hypothesis's generator: seeded alike, both workers would try the same ports.
    for port in random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        lock = (folder / str(port)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:  # another process's, or somebody listens
            lock.close()
            continue
        _locks.append(lock)
        return port
    raise AssertionError(f"no port from {FIRST} to {LAST - 1} is free")


def listens(process: subprocess.Popen[bytes], *ports: int) -> bool:
    """Whether all the ports are that very process's: another server's would answer too, or never."""
    try:
        connections = psutil.Process(process.pid).net_connections(kind="tcp")
    except psutil.Error:  # it has just ended
        return False
    return set(ports) <= {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
