"""Predict in a new Python process, so that a model file that crashes its parser does not crash the caller.

This module starts the process, limits its memory and processor time, and reports its failures. The functions that
predict in it are in `registry.reference` and `registry.learners.process`.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import TypeGuard

from nba_ml.contract.errors import BundleError, NbaMlError, ProcessStartError
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.limits import MODEL_BYTES, TRIAL_CPU_SECONDS, TRIAL_MEMORY_BYTES
from nba_ml.contract.system_errors import reason_of

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]

_REFERENCE_ROWS = "nba_ml.registry.reference:predict_request"
TIME_LIMIT_SECONDS = 300.0
"""XGBoost takes under a second and CatBoost two. On a very busy machine a minute may not be enough."""


def predict_in_subprocess(
    function: str,
    model: bytes,
    rows: Sequence[object],
    what: str,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    **more: str,
) -> list[float]:
    """Call a function with a model and rows in a new process. Returns a prediction for each row.

    Args:
        function: `package.module:name`; it takes the model's bytes, `rows` and `more`, and returns a list of numbers.
        what: the model, for error messages.

    Raises:
        BundleError: the file is too large, or the process failed (the message has the last lines of its output) or
            exceeded a limit.
        ProcessStartError: the system could not start the process.
    """
    if len(model) > MODEL_BYTES:
        raise BundleError(
            f"{what} has {len(model):,} bytes, and at most {MODEL_BYTES:,} are loaded. Train a smaller one."
        )
    request = {"model": base64.b64encode(model).decode(), "rows": list(rows), **more}
    with _started(function) as child:
        try:
            answer, errors = child.communicate(json.dumps(request), time_limit_seconds)
        except subprocess.TimeoutExpired:
            raise BundleError(
                f"A new process did not predict {len(rows)} reference rows with {what} within {time_limit_seconds:g} "
                "seconds. Try again on a less busy machine; if it happens again, the model is not usable."
            ) from None
        finally:
            child.kill()  # whatever ended this call; one that has ended is not sent a signal
    if child.returncode != 0:
        output = " | ".join(errors.strip().splitlines()[-5:]) or "no output"
        raise BundleError(
            f"A new process could not load {what} ({len(model):,} bytes) and predict {len(rows)} reference rows: it "
            f"{_end(child.returncode)}: {output}"
        )
    predicted: list[float] = json.loads(answer)
    return predicted


def start_early() -> None:
    """Start the process of the next `predict_in_fresh_process`. It imports XGBoost while this one works, and waits.

    It ends when this process does. Where the system has no room for a process, none is started; the call tries again.
    """
    if not _is_waiting(_early.get(_REFERENCE_ROWS)):
        with suppress(ProcessStartError):
            _early[_REFERENCE_ROWS] = _start(_REFERENCE_ROWS, "xgboost")


_early: dict[str, subprocess.Popen[str]] = {}
"""What was started early, by the function that it will call."""


@atexit.register
def _end_early() -> None:
    for child in _early.values():
        with child:
            child.kill()


def _started(function: str) -> subprocess.Popen[str]:
    child = _early.pop(function, None)
    return child if _is_waiting(child) else _start(function)


def _is_waiting(child: subprocess.Popen[str] | None) -> TypeGuard[subprocess.Popen[str]]:
    return child is not None and child.poll() is None


def _start(function: str, *modules: str) -> subprocess.Popen[str]:
    """Start a process for one call of a function; it imports the modules before it has the arguments."""
    try:
        return subprocess.Popen(
            # From this package's folder: the child must run this code, not another installed copy.
            [sys.executable, "-m", "nba_ml.registry.fresh_process", function, *modules],
            cwd=_PACKAGE_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # a library may print bytes of the file
        )
    except OSError as error:
        raise ProcessStartError(
            f"A new process, in which a model is tried, could not be started: {sys.executable or 'Python'} in "
            f"{_PACKAGE_ROOT}: {reason_of(error)}. The model was not tried. Try again once the machine has memory and "
            "processes to spare; if Python or nba_ml was installed anew meanwhile, start this program again."
        ) from error


def _end(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"used more than {TRIAL_CPU_SECONDS} seconds of processor time"
    return f"was killed by signal {-code}" if code < 0 else f"exited with {code}"


def predict_in_fresh_process(
    booster: bytes,
    rows: Sequence[Sequence[float | None]],
    version: FeatureVersion,
    *,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
) -> list[float]:
    """`reference.predict_rows`, run in a new Python process.

    Raises:
        BundleError, ProcessStartError: as for `predict_in_subprocess`.
    """
    return predict_in_subprocess(
        _REFERENCE_ROWS,
        booster,
        [list(row) for row in rows],
        "the model",
        time_limit_seconds,
        feature_version=version.name,
    )


def _restrict() -> None:
    """Limit this process: a forged file must not take the machine's memory or processors, nor leave a core dump."""
    for kind, most in (
        (resource.RLIMIT_AS, TRIAL_MEMORY_BYTES),
        (resource.RLIMIT_CPU, TRIAL_CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS has no limit of the address space
            resource.setrlimit(kind, (soft, hard))
    if hasattr(os, "sched_setaffinity"):
        # Libraries start a thread for each core that they see, and each of them takes address space.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def _answer(function: str, *modules: str) -> int:
    """Answer the request on standard input: 0 with JSON on standard output, or 1 with one line on standard error."""
    # Libraries log to standard output, some of them past Python, and it must contain only the answer.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    predict = resolve_name(function)
    for module in modules:
        import_module(module)
    request = json.load(sys.stdin)
    try:
        predicted = predict(base64.b64decode(request.pop("model")), **request)
    except NbaMlError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with answer:
        json.dump(predicted, answer)
    return 0


if __name__ == "__main__":
    _restrict()
    sys.exit(_answer(*sys.argv[1:]))
