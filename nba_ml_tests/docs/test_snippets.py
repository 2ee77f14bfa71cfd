"""Every shell block and Python snippet of the tutorial and the README is run as printed, in order, in a new folder.

Guards against a documented command that no longer exists, fails, or prints something else.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nba_ml_tests.docs.markdown import PYTHON, README, ROOT, SHELL, TUTORIAL, Block, blocks, missing_line
from nba_ml_tests.e2e.servers import stop
from nba_ml_tests.ports import free_port
from nba_ml_tests.processes import heed_signals

pytestmark = pytest.mark.slow

ANSWERS_WITHIN = 180
"""Seconds for a server of a background block to answer: 8 s on an idle machine."""

LINKED = ("Makefile", "pyproject.toml", "requirements.lock", "nba_ml", ".venv", "workspace.yaml")
"""What a block needs of the checkout. The folder has no home yet, as a fresh checkout has none."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a fresh checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_tutorial_and_the_readme_run_as_printed(folder: Path) -> None:
    """Someone follows the tutorial, then the README, and a command fails or prints something else."""
    shell = Shell(folder)
    run = [
        b for page in (TUTORIAL, README) for b in blocks(page) if b.language in (SHELL, PYTHON) and not b.why_not_run
    ]
    with shell.background():
        for block in run:
            shell.run(block)


class Shell:
    """Runs blocks in one folder. What a block exports holds for the next ones; printed ports become free ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".exported"
        self.state.write_text("")
        self.ports = {"3000": str(free_port())}
        self.servers: list[subprocess.Popen[bytes]] = []
        ours = re.compile(r"NBA_ML_|DAGSTER_|MAKE|PYTEST")
        self.environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
        # A table as wide as the one in the page. Two threads wait for each other where two workers share the cores.
        # PORT is what `make ui` takes instead of 3000.
        self.environment |= {"COLUMNS": "120", "NBA_ML_THREADS": "1", "PORT": self.ports["3000"]}

    def run(self, block: Block) -> None:
        """Run a block; raises AssertionError with its output if it does not do what the page says."""
        text = self._with_free_ports(block.text)
        if block.until:
            self._start(block, text)
            return
        python: list[str | Path] = [self.folder / ".venv/bin/python", "-c", text]
        argv = python if block.language == PYTHON else self._bash(text)
        done = subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        printed = f"{block.place}\n{block.text}\nprinted, with exit code {done.returncode}:\n{done.stdout}{done.stderr}"
        assert done.returncode == block.exit_code, printed
        missing = missing_line(self._with_free_ports(block.output), done.stdout + done.stderr)
        assert missing is None, f"the page also shows this line: {missing}\n{printed}"

    @contextmanager
    def background(self) -> Iterator[None]:
        """Afterwards the servers of background blocks have ended."""
        try:
            yield
        finally:
            while self.servers:
                stop(self.servers.pop())

    def _start(self, block: Block, text: str) -> None:
        log = self.folder / f".{block.line}.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                self._bash(text),
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=heed_signals,
            )
        self.servers.append(server)
        address, deadline = self._with_free_ports(block.until), time.monotonic() + ANSWERS_WITHIN
        while not _answers(address):
            assert server.poll() is None, f"{block.place} ended with {server.returncode}:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{block.place}: {address} does not answer:\n{log.read_text()}"
            time.sleep(0.5)
        missing = missing_line(self._with_free_ports(block.output), log.read_text())
        assert missing is None, f"the page also shows this line: {missing}\n{block.place}\n{log.read_text()}"

    def _bash(self, text: str) -> list[str | Path]:
        return ["bash", "-euo", "pipefail", "-c", f"source '{self.state}'\n{text}\nexport -p > '{self.state}'"]

    def _with_free_ports(self, text: str) -> str:
        """The text with every port that it prints replaced by a free one, always the same: another may have ours."""
        for port in re.findall(r"(?:127\.0\.0\.1:|--port |PORT=)(\d+)", text):
            self.ports.setdefault(port, str(free_port()))
        for printed, free in self.ports.items():
            text = re.sub(rf"(?<=:){printed}\b|(?<=--port ){printed}\b|(?<=PORT=){printed}\b", free, text)
        return text


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
