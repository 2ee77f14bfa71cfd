"""Plants mutants in a copy of the checkout, one at a time, and runs an area's tests on each.

The tests run in a fork of a process that has imported their libraries, which is most of the time that they would
take: only the package and the tests are imported anew. The checkout itself is never changed.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from nba_ml_tests.mutants.operators import Mutant

OWN = ("nba_ml", "nba_ml_tests")
"""Packages that each run imports anew."""

PASSED = 0
"""pytest's exit code for tests that passed."""

SHORTEST_LIMIT, LONGEST_LIMIT = 10, 600
"""Seconds of computing."""

WAITS = 10
"""How much longer than its limit of computing a mutant may take, on a busy machine or asleep."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` is killed, timeout or survived."""

    mutant: Mutant
    result: str
    seconds: float


def copy_checkout(root: Path, copy: Path) -> None:
    """Copy the files that git knows, and those it would add, to a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, copy / name)


class Judge:
    """Runs tests on mutants of the copy in `root`.

    `options` are pytest's. `limit` is how many seconds the tests may compute on a mutant; None: five times as long as
    without a fault, and ten at least.
    """

    def __init__(self, root: Path, options: Iterable[str], limit: int | None = None) -> None:
        self.root, self.limit, self.planted = root, limit, 0
        self.options = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0", "-o", "addopts=", *options]

    def prepare(self) -> float:
        """Run the tests without a fault, and import the libraries that they use.

        Returns:
            How many seconds the tests compute, with importing those.

        Raises:
            RuntimeError: they fail, so no mutant could be judged. The message holds their output.
        """
        names, output = self.root / "imported.txt", self.root / "output.txt"
        code, seconds = self._fork(lambda: self._run(names), output)
        if code != PASSED:
            raise RuntimeError(f"The tests fail without a fault: pytest ended with {code}.\n{output.read_text()}")
        for name in names.read_text().split():
            with suppress(Exception):  # part of a package that its own __init__ would have imported
                importlib.import_module(name)
        if self.limit is None:
            self.limit = max(SHORTEST_LIMIT, round(5 * seconds))
        return seconds

    def judge(self, mutants: Iterable[Mutant]) -> Iterator[Outcome]:
        """Plant each mutant, run the tests, and restore the module."""
        for mutant in mutants:
            file = self.root / mutant.path
            text = file.read_text(encoding="utf-8")
            self._write(file, mutant.plant(text))
            try:
                code, seconds = self._fork(self._run, self.root / "output.txt")
            finally:
                self._write(file, text)
            yield Outcome(mutant, "timeout" if code is None else "survived" if code == PASSED else "killed", seconds)

    def _write(self, file: Path, text: str) -> None:
        """Replace a module, with a time of its own: Python would run the compiled code of the same time and size."""
        file.write_text(text, encoding="utf-8")
        self.planted += 1
        os.utime(file, (self.planted, self.planted))

    def _run(self, names: Path | None = None) -> int:
        """In the child: the tests, from the copy. Writes down the libraries' modules that they imported."""
        os.chdir(self.root)
        os.environ["PYTHONPATH"] = str(self.root)
        sys.path[:] = [str(self.root), *(entry for entry in sys.path if entry not in ("", str(Path.cwd())))]
        for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
            del sys.modules[name]
        code = int(pytest.main(self.options))
        if names is not None:
            libraries = (name for name in sys.modules if name.partition(".")[0] not in (*OWN, "__main__"))
            names.write_text("\n".join(libraries))
        return code

    def _fork(self, work: Callable[[], int], output: Path) -> tuple[int | None, float]:
        """The exit code of work in a process (group) of its own, None beyond the limit; and seconds of computing."""
        limit = self.limit or LONGEST_LIMIT
        child = os.fork()
        if not child:
            code = 70
            with suppress(BaseException), output.open("w") as file:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                with redirect_stdout(file), redirect_stderr(file):
                    code = work()
            os._exit(code)
        until = time.monotonic() + WAITS * limit
        done, ended, used = os.wait4(child, os.WNOHANG)
        while not done and time.monotonic() < until:
            time.sleep(0.02)
            done, ended, used = os.wait4(child, os.WNOHANG)
        with suppress(ProcessLookupError):  # also what the tests started and left
            os.killpg(child, signal.SIGKILL)
        if not done:
            _, ended, used = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(ended)
        return None if code in (-signal.SIGXCPU, -signal.SIGKILL) else code, used.ru_utime + used.ru_stime
