"""The home's folder as several processes prepare it at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nba_ml.runner.home import prepare_home
from nba_ml.settings import Settings


@pytest.mark.parametrize("step", ["unlink", "replace"])
def test_two_with_one_process_id_prepare_the_same_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Guards two containers with one home, both of whose processes are number 1: the second removed, or moved away,
    the file of the first, which ended with an error."""
    settings = Settings.from_environment({"NBA_ML_HOME": str(tmp_path)})
    original: Callable[..., Any] = getattr(Path, step)
    inside: list[Path] = []

    def disturbed(path: Path, *args: Any, **named: Any) -> Any:
        if not inside:
            inside.append(path)
            prepare_home(settings)
        return original(path, *args, **named)

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(Path, step, disturbed)
    prepare_home(settings)
    monkeypatch.undo()
    assert inside
    written = settings.dagster_home / "dagster.yaml"
    assert yaml.safe_load(written.read_text())["telemetry"] == {"enabled": False}
    assert [file.name for file in settings.dagster_home.iterdir()] == ["dagster.yaml"]
