"""Served predictions in a store: what is kept, what is dropped, and the query of the documentation over them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from queue import SimpleQueue

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.errors import PublicationError
from nba_ml.serving.http import prediction_log as module
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.prediction_log import FOLDER, PredictionLog
from nba_ml.serving.http.service import app_of
from nba_ml.serving.prediction import Prediction
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.docs.markdown import ROOT
from nba_ml_tests.serving.client import running
from nba_ml_tests.serving.rules import MONTHS, ROW, ours, point, rule_predictor, state_of

KEYS = {"player_lookup": "lebronjames", "game_date": "2025-03-01", "game_id": "0022400900"}


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "models")
    point(made, state_of(7, ours(MONTHS[0])))
    return made


@pytest.mark.slow
def test_what_was_served_is_kept_and_joins_with_results(
    monkeypatch: pytest.MonkeyPatch, store: DirectoryStore, tmp_path: Path
) -> None:
    """Guards against a log that differs from the answers, keeps features, or that the documented query cannot read."""
    kept = DirectoryStore(tmp_path / "kept")
    predictor = rule_predictor(monkeypatch, store)
    app = app_of(predictor, channel=None, refresh_seconds=60.0, limits=Limits(), prediction_log=PredictionLog(kept))
    with running(app) as client:
        first = client.predict({**ROW, **KEYS}).json
        slate = client.predict({"rows": [{**ROW, **KEYS}, dict(ROW)]}).json["predictions"]
        refused = client.predict({**ROW, "points_avg_season": "many"})
        assert refused.status == 422
    lines = [json.loads(line) for name in kept.names(FOLDER) for line in _read(kept, name).splitlines()]
    assert [{k: v for k, v in line.items() if k != "made_at"} for line in lines] == [first, *slate]

    (tmp_path / "results").mkdir()
    result = {"player_lookup": ["lebronjames"], "game_date": [date(2025, 3, 1)], "points": [20], "minutes_played": [30]}
    pq.write_table(pa.table(result), tmp_path / "results/2025-03.parquet")
    page = (ROOT / "docs/pages/how-to/serve.md").read_text()
    query = re.findall(r"```sql\n(.*?)```", page, re.S)[0]
    query = query.replace("/var/lib/nba_ml", str(kept.root)).replace(
        ".nba_ml/store/player_game_summary", str(tmp_path / "results")
    )
    ((model, games, mae, *_),) = duckdb.connect().execute(query).fetchall()
    assert (model, games) == (first["model_version"], 1)
    assert mae == pytest.approx(abs(20 - first["predicted_points"]), abs=0.001)


@pytest.mark.slow
def test_requests_never_wait_and_what_is_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch, store: DirectoryStore
) -> None:
    """Guards the answers: a store that hangs, then refuses, costs neither time nor memory without a limit."""
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    monkeypatch.setattr(module, "ROWS_PER_OBJECT", 2)
    hangs = threading.Event()

    class Hanging(DirectoryStore):
        def create(self, name: str, data: bytes) -> str:
            assert hangs.wait(60)
            raise PublicationError(f"{name} is refused, {len(data)} bytes")

    log = PredictionLog(Hanging(store.root))
    app = app_of(
        rule_predictor(monkeypatch, store), channel=None, refresh_seconds=60.0, limits=Limits(), prediction_log=log
    )
    with running(app) as client:
        answers = [client.predict(dict(ROW)).status for _ in range(20)]
        assert answers == [200] * 20  # while the writer hangs
        counted = client.get("/metrics").body.decode()
        dropped = int(float(re.findall(r'nba_ml_logged_predictions_total\{outcome="dropped"\} (\S+)', counted)[0]))
        assert 20 - 5 - 2 <= dropped <= 20 - 5
        hangs.set()
    assert all_dropped(log) == 20


def all_dropped(log: PredictionLog) -> int:
    """All predictions that were dropped, after the last write."""
    metrics = log.count.__self__  # type: ignore[attr-defined]
    return int(metrics.registry.get_sample_value("nba_ml_logged_predictions_total", {"outcome": "dropped"}))


def test_a_share_of_the_requests_is_kept(
    tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against rows in place of requests: a slate is kept whole or not at all."""
    kept = DirectoryStore(tmp_path / "kept")
    log = PredictionLog(kept, 0.3)
    predictions = rule_predictor(monkeypatch, store).predict([dict(ROW)] * 3)
    with log.writing():
        [writer] = [each for each in threading.enumerate() if each.name == "prediction log"]
        assert writer.daemon, "a store that hangs does not keep the service from ending"
        for _ in range(1000):
            log.offer(predictions)
    rows = sum(len(_read(kept, name).splitlines()) for name in kept.names(FOLDER))
    assert rows % 3 == 0
    assert 200 < rows / 3 < 400  # 7 standard deviations


def test_an_object_is_written_as_soon_as_it_is_full(
    tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the memory on a busy evening: what waits for the next minute would be dropped."""
    monkeypatch.setattr(module, "ROWS_PER_OBJECT", 3)
    kept = DirectoryStore(tmp_path / "kept")
    log = PredictionLog(kept)
    written = threading.Event()
    log.count = lambda _outcome, _rows: written.set()
    with log.writing():
        log.offer(rule_predictor(monkeypatch, store).predict([dict(ROW)] * 3))
        assert written.wait(60)
        [name] = kept.names(FOLDER)
        assert len(_read(kept, name).splitlines()) == 3


def test_the_limit_holds_for_threads_that_offer_at_once(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the memory: slates and small bodies are answered in different threads, and each found room."""
    monkeypatch.setattr(module, "MOST_WAITING", 4)
    log, dropped = PredictionLog(store), list[int]()
    log.count = lambda _outcome, rows: dropped.append(rows)
    predictions = rule_predictor(monkeypatch, store).predict([dict(ROW)] * 3)
    other = threading.Thread(target=log.offer, args=(predictions,))

    class Disturbed(list[Prediction]):
        """While these are taken, another thread offers as many."""

        def __iter__(self) -> Iterator[Prediction]:
            other.start()
            other.join(1.0)  # it has to wait; without a lock it is done in no time
            return super().__iter__()

    log.offer(Disturbed(predictions))
    other.join()
    assert (len(log._waiting), dropped) == (3, [3])


def test_an_error_that_nobody_foresaw_does_not_end_the_log(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards what is served afterwards: the thread ended, and everything was dropped until the next start."""
    monkeypatch.setattr(module, "ROWS_PER_OBJECT", 1)
    counted = SimpleQueue[tuple[str, int]]()

    class Failing(DirectoryStore):
        failures = 1

        def create(self, name: str, data: bytes) -> str:
            if self.failures:
                self.failures -= 1
                raise ValueError("a bug")
            return super().create(name, data)

    log = PredictionLog(Failing(store.root))
    log.count = lambda outcome, rows: counted.put((outcome, rows))
    predictions = rule_predictor(monkeypatch, store).predict([dict(ROW)])
    with log.writing():
        for outcome in ("dropped", "written"):
            log.offer(predictions)
            assert counted.get(timeout=60) == (outcome, 1)


def _read(store: DirectoryStore, name: str) -> bytes:
    found = store.read(name)
    assert found is not None
    return found.data
