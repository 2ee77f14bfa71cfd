"""The ports that the tests' servers get, and what a server does whose port was taken all the same."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from nba_ml_tests.cloud import gcs
from nba_ml_tests.ports import FIRST, LAST, free_port

pytestmark = pytest.mark.slow


def test_no_port_is_given_twice() -> None:
    """Guards against two servers of two workers that were promised one port: one of them ends at once."""
    ours = {free_port() for _ in range(50)}
    assert len(ours) == 50
    assert all(FIRST <= port < LAST for port in ours)
    port = ours.pop()
    code = f"from nba_ml_tests import ports; ports.FIRST, ports.LAST = {port}, {port + 1}; ports.free_port()"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"no port from {port} to {port} is free" in other.stderr


def test_an_emulator_takes_another_port_where_its_own_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a run of all tests that is red because some other program was quicker."""
    if gcs.emulator_program() is None:
        pytest.skip(gcs.NOT_INSTALLED)
    taken, free = free_port(), free_port()
    ports = iter([taken, free])
    monkeypatch.setattr(gcs, "free_port", lambda: next(ports))
    with socket.create_server(("127.0.0.1", taken)), gcs.running_server() as endpoint:
        assert endpoint == f"http://127.0.0.1:{free}"
