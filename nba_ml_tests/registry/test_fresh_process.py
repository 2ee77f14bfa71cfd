"""The process that is started before its first question is known."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from nba_ml.contract.errors import BundleError, ProcessStartError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry import fresh_process
from nba_ml.registry.fresh_process import predict_in_fresh_process, start_early
from nba_ml_tests.conftest import Trained
from nba_ml_tests.runner.conftest import count

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_process, "_early", {})


def test_the_process_that_waits_answers_once(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the time of a month, for which nothing may be started twice; and two models in one process."""
    started = count(monkeypatch, fresh_process, "_start")
    rows, expected = _rows(trained)
    start_early()
    start_early()
    assert len(started) == 1
    assert predict_in_fresh_process(trained.fitted.booster, rows, V2_33FEATURES) == expected
    assert len(started) == 1
    assert predict_in_fresh_process(trained.fitted.booster, rows, V2_33FEATURES) == expected
    assert len(started) == 2
    start_early()
    with pytest.raises(BundleError, match="could not load the model"):
        predict_in_fresh_process(trained.fitted.booster[:-1], rows, V2_33FEATURES)
    assert len(started) == 3


def test_one_that_was_killed_while_it_waited_is_replaced(trained: Trained) -> None:
    """Guards a sound model that is refused because the system, short of memory, killed a process that did nothing."""
    rows, expected = _rows(trained)
    start_early()
    (child,) = fresh_process._early.values()
    child.kill()
    child.wait()
    assert predict_in_fresh_process(trained.fitted.booster, rows, V2_33FEATURES) == expected


def test_none_that_can_be_started_early_stops_no_training(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a model, on a machine that is short of processes for a moment, from being lost or called damaged."""
    rows, expected = _rows(trained)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        start_early()
        with pytest.raises(ProcessStartError, match=r"/no/such/python in .*: No such file.* The model was not tried"):
            predict_in_fresh_process(trained.fitted.booster, rows, V2_33FEATURES)
    assert predict_in_fresh_process(trained.fitted.booster, rows, V2_33FEATURES) == expected


@pytest.mark.parametrize("end", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["ends", "killed"])
def test_it_ends_with_the_process_that_started_it(end: str) -> None:
    """Guards the machine: each run would leave a process behind."""
    body = "from nba_ml.registry import fresh_process as f; f.start_early(); [c] = f._early.values(); print(c.pid)"
    parent = subprocess.run(
        [sys.executable, "-c", f"import os, signal, sys; {body}; sys.stdout.flush(); {end}"],
        capture_output=True,
        text=True,
        check=False,
    )
    pid, deadline = int(parent.stdout), time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)
    assert parent.stderr == ""


def _rows(trained: Trained) -> tuple[list[list[float | None]], list[float]]:
    """The reference rows, and the predictions for them."""
    rows = trained.record.reference_rows
    return [list(row.features) for row in rows], [row.prediction for row in rows]
