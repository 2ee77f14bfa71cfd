"""What a test of the marker `unit` may not do."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest


def test_a_unit_test_starts_neither_a_server_nor_a_python_process() -> None:
    """Guards the minute of `make test-fast`: without this, slow tests come back one by one."""
    with pytest.raises(AssertionError, match=r"test_markers.*starts a server: mark it with"):
        socket.create_server(("127.0.0.1", 0))
    with pytest.raises(AssertionError, match="starts a Python process"):
        subprocess.Popen([sys.executable, "-c", ""])


@pytest.mark.slow
def test_a_slow_test_may() -> None:
    """Guards against a rule that holds for all tests."""
    socket.create_server(("127.0.0.1", 0)).close()
    subprocess.run([sys.executable, "-c", ""], check=True)
