"""Training by pages: in files and in memory it gives the same bytes, and leaves nothing on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from nba_ml.contract.errors import SettingsError, StaleInputError
from nba_ml.contract.features import V2_33FEATURES, V4_FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.split import SplitManifest
from nba_ml.model import chunks, paged, record
from nba_ml.model import train as training
from nba_ml.model.fitting import KEY_COLUMNS, Samples, gather, load, predict, predict_rows
from nba_ml.model.paged import Paged, page_sample, pages, stored_rows
from nba_ml.model.record import make_record
from nba_ml.model.train import Memory, train
from nba_ml.model.values import TrainedModel
from nba_ml.storage.scratch import scratch_folder
from nba_ml_tests.conftest import QUICK, Trained, snapshot_of
from nba_ml_tests.small_disk import small_disk

MONTHS = ["2021-10", "2021-11", "2021-12"]
PAGE = 1024
RECIPE = QUICK.model_copy(update={"refit": True})


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits at which three months are a large history of several pages."""
    monkeypatch.setattr(paged, "PAGE_ROWS", PAGE)
    monkeypatch.setattr(training, "PAGED_ROWS", 3000)


def trained_by(trained: Trained, memory: Memory, threads: int = 2) -> TrainedModel:
    snapshots = {month: snapshot_of(month) for month in MONTHS}
    return train(trained.split, snapshots, RECIPE, V2_33FEATURES, threads, memory)


# --- the bytes ------------------------------------------------------------------------------------------------


def test_files_and_memory_give_the_same_model_and_record(trained: Trained, tmp_path: Path) -> None:
    """Guards against a model that depends on the machine's memory or threads, and against files that stay."""
    in_files = trained_by(trained, Memory(rows=0, scratch=tmp_path / "scratch"))
    in_memory = trained_by(trained, Memory(rows=10**9), threads=1)
    assert in_files.booster == in_memory.booster
    assert in_files.measured == in_memory.measured
    assert in_files.report == in_memory.report
    assert in_files.report.sampling == paged.SAMPLING
    assert list((tmp_path / "scratch").iterdir()) == []
    assert in_files.booster is not None
    text = make_record(in_files.report, in_files.booster, XGBOOST_V1).to_bytes()
    assert b'"sampling": "by_page"' in text
    assert b"sampling" not in trained.record.to_bytes()  # as before there were two ways


def test_the_number_of_rows_decides_the_recipe(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the ids of the shipped months: as many rows as the limit are trained as before, one more by pages."""
    monkeypatch.setattr(training, "PAGED_ROWS", trained.split.rows)
    assert trained_by(trained, Memory(rows=0)).measured == trained.fitted.booster
    monkeypatch.setattr(training, "PAGED_ROWS", trained.split.rows - 1)
    assert trained_by(trained, Memory(rows=0)).measured != trained.fitted.booster


@pytest.mark.parametrize("rows", [PAGE, 3 * PAGE, 3 * PAGE + 1, 5 * PAGE - 1])
def test_a_page_that_is_full_or_nearly_empty(trained: Trained, rows: int, tmp_path: Path) -> None:
    """Guards the cuts between pages: a lost row, or a last page without rows."""
    some = part_of(trained.samples, 0, rows)
    stopping = trained.side("early_stopping")
    in_files = Paged(tmp_path).fit(some, stopping, QUICK, V2_33FEATURES, 2)
    in_memory = Paged(external=False).fit(some, stopping, QUICK, V2_33FEATURES, 2)
    assert in_files == in_memory
    found = [(features.copy(), points.copy()) for features, points in pages(some.parts(), V2_33FEATURES)]
    np.testing.assert_array_equal(np.concatenate([features for features, _ in found]), some.features)
    np.testing.assert_array_equal(np.concatenate([points for _, points in found]), some.points)


def part_of(samples: Samples, start: int, stop: int) -> Samples:
    return Samples(
        samples.features[start:stop],
        samples.points[start:stop],
        samples.dates[start:stop],
        samples.keys.slice(start, stop - start),
    )


def test_rows_that_are_learned_with_and_without_reports(trained: Trained, tmp_path: Path) -> None:
    """Guards the version with reports, whose rows count twice: a page of them has both kinds."""
    wide = np.full((len(trained.samples), V4_FEATURES.count), 1.0, dtype=np.float32)
    wide[:, : V2_33FEATURES.count] = trained.samples.features
    samples = replace(trained.samples, features=wide)
    boosters = {Paged(tmp_path, external=each).fit_all(samples, 5, QUICK, V4_FEATURES, 2) for each in (True, False)}
    assert len(boosters) == 1
    assert sum(len(points) for _, points in _learned(samples)) == 2 * len(samples)


def _learned(samples: Samples) -> Iterator[tuple[Any, Any]]:
    made = paged._Pages(samples, V4_FEATURES, None, learned=True)
    seen: list[tuple[Any, Any]] = []
    while made.next(lambda **page: seen.append((page["data"], page["label"]))):
        pass
    return iter(seen)


def test_the_sample_is_that_of_the_round_in_every_page(trained: Trained) -> None:
    """Guards the sampling: its share, another one each round, and none at all if all rows are wanted."""
    masks = [page_sample(42, number, 0.7) for number in range(20)]
    assert len({mask.tobytes() for mask in masks}) == 20
    assert abs(np.mean(masks) - 0.7) < 0.01
    matrix = xgb.QuantileDMatrix(trained.samples.features, label=trained.samples.points)
    [sampler] = paged._samplers(matrix, QUICK)
    sampler.before_iteration(None, 3, {})
    weights = matrix.get_weight()
    np.testing.assert_array_equal(weights[: 3 * PAGE].reshape(3, PAGE), np.tile(masks[3], (3, 1)))
    assert paged._samplers(matrix, QUICK.model_copy(update={"subsample": 1.0})) == []


def test_xgboosts_own_sampling_still_needs_this_recipe(trained: Trained, tmp_path: Path) -> None:
    """Says when XGBoost samples rows in files as in memory: then there need be one recipe only."""
    rows, params = trained.samples, {**QUICK.booster_params(2), "subsample": 0.7}

    def leaves(folder: Path | None) -> bytes:
        matrix = paged._Matrices(folder, V2_33FEATURES, 2).matrix(rows, "rows")
        return bytes(xgb.train(params, matrix, num_boost_round=2).save_raw("json"))

    assert leaves(tmp_path) != leaves(None)


# --- the rows -------------------------------------------------------------------------------------------------


def test_stored_rows_are_the_gathered_ones(trained: Trained) -> None:
    """Guards the second reader: each side has the rows, order and keys that it has in memory."""
    rows = stored_rows(trained.tables, trained.split, V2_33FEATURES)
    assert (len(rows), rows.players) == (len(trained.samples), trained.samples.players)
    for name, side in rows.sides(trained.split).items():
        same, wanted = side.in_memory(), trained.side(name)
        np.testing.assert_array_equal(same.features, wanted.features)
        np.testing.assert_array_equal(same.points, wanted.points)
        np.testing.assert_array_equal(same.dates, wanted.dates)
        assert same.keys.equals(wanted.keys)
        booster = load(trained.fitted.booster)
        np.testing.assert_array_equal(predict_rows(booster, side), predict(booster, wanted.features))


def test_a_changed_snapshot_is_refused(trained: Trained) -> None:
    """Guards against a model whose record names rows that it was not trained on."""
    table = trained.tables["2021-12"]
    at = table.column_names.index("points")
    points = pa.array([table["points"][0].as_py() + 1, *table["points"].to_pylist()[1:]])
    changed = table.set_column(at, table.schema.field("points"), points)
    with pytest.raises(StaleInputError, match="The snapshots of 2021-12 are not the ones that the split was made from"):
        stored_rows({**trained.tables, "2021-12": changed}, trained.split, V2_33FEATURES)


def test_the_report_is_the_same_in_chunks(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a row that is counted twice, or left out, where one chunk ends."""
    report = record.report_training(
        trained.fitted, trained.fitted.booster, trained.samples, trained.split, QUICK, V2_33FEATURES, 1
    )
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 100)
    rows = stored_rows(trained.tables, trained.split, V2_33FEATURES)
    in_chunks = record.report_training(
        trained.fitted, trained.fitted.booster, rows, trained.split, QUICK, V2_33FEATURES, 1
    )
    assert in_chunks == report
    assert gather(trained.tables, trained.split, V2_33FEATURES).keys.column_names == list(KEY_COLUMNS)


# --- the disk -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error:.*cache file")
def test_a_training_that_fails_leaves_no_files(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the disk after an error or Ctrl-C in mid-training, and against XGBoost's warnings about missing files."""

    def interrupted(*_: object) -> None:
        assert [each.name for each in next(tmp_path.iterdir()).iterdir()], "pages have been written"
        raise KeyboardInterrupt

    monkeypatch.setattr(paged, "page_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Paged(tmp_path).fit(trained.side("train"), trained.side("early_stopping"), QUICK, V2_33FEATURES, 2)
    assert list(tmp_path.iterdir()) == []


_TRAINS = """
import sys
from pathlib import Path
from nba_ml.model import paged
from nba_ml_tests.conftest import QUICK, V2_33FEATURES, gather, snapshot_of, split_of
months = ["2021-11"]
paged.PAGE_ROWS = 512
samples = gather({m: snapshot_of(m).table for m in months}, split_of(months), V2_33FEATURES)
paged.Paged(Path(sys.argv[1])).fit_all(samples, 10**6, QUICK, V2_33FEATURES, 1)
"""


@pytest.mark.slow
def test_a_killed_training_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    """Guards the disk after a kill: the kernel frees the lock, and the next training removes the files. A training that
    lives keeps its own."""
    environ = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"}
    with subprocess.Popen([sys.executable, "-c", _TRAINS, str(tmp_path)], env=environ) as process:
        try:
            until = time.monotonic() + 300
            while not any(tmp_path.glob("*/*.page")):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            [theirs] = tmp_path.iterdir()
            with scratch_folder(tmp_path, 0, "A test") as ours:
                assert {theirs, ours} == set(tmp_path.iterdir())
        finally:
            process.send_signal(signal.SIGKILL)
    assert theirs.is_dir()
    with scratch_folder(tmp_path, 0, "A test") as ours:
        assert [ours] == list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_named_before_the_training(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a training that ends after an hour with a full disk."""
    monkeypatch.setattr(paged, "VALUE_BYTES", 10**12)
    with pytest.raises(SettingsError, match=r"Training on .* rows needs about .* GB in .*scratch, and .* are free\."):
        trained_by(trained, Memory(rows=0, scratch=tmp_path / "scratch"))
    assert list((tmp_path / "scratch").iterdir()) == []


class _FillsTheDisk:
    """Rows at whose second reading another process takes the disk, but for two pages."""

    def __init__(self, samples: Samples, disk: Path) -> None:
        self._samples, self._disk, self._readings = samples, disk, 0
        self.points, self.players = samples.points, samples.players

    def __len__(self) -> int:
        return len(self._samples)

    def parts(self) -> Iterator[Samples]:
        self._readings += 1
        yield part_of(self._samples, 0, 2000)
        if self._readings > 1:
            stat = os.statvfs(self._disk)
            with (self._disk / "filler").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - 2 * PAGE * 33 * paged.VALUE_BYTES)
        yield part_of(self._samples, 2000, len(self._samples))

    def in_memory(self) -> Samples:
        return self._samples

    def sides(self, split: SplitManifest) -> dict[str, Samples]:
        return self._samples.sides(split)


@pytest.mark.slow
def test_a_disk_that_others_fill_meanwhile_is_an_error(trained: Trained, tmp_path: Path) -> None:
    """Guards the process: XGBoost ends it, without a word of ours, when it cannot write a page."""
    with small_disk(tmp_path / "disk", 8) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        rows = _FillsTheDisk(trained.samples, tmp_path / "disk")
        with pytest.raises(SettingsError, match=r"A training in files needs about .* GB in .*disk"):
            Paged(tmp_path / "disk").fit_all(rows, 3, QUICK, V2_33FEATURES, 1)
        assert [each.name for each in (tmp_path / "disk").iterdir()] == ["filler"]


def test_a_scratch_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Guards against a traceback: what is in the way, and what to do."""
    (tmp_path / "scratch").write_text("a file")
    with pytest.raises(SettingsError, match=r"scratch cannot be used: a file is where a folder should be"):
        Paged(tmp_path / "scratch").fit_all(_one_row(), 1, QUICK, V2_33FEATURES, 1)


def _one_row() -> Samples:
    table = snapshot_of("2021-11").table.slice(0, 1)
    return Samples(
        np.zeros((1, V2_33FEATURES.count), dtype=np.float32),
        np.zeros(1, dtype=np.float32),
        table.column("game_date").to_numpy(),
        table.select(KEY_COLUMNS),
    )
