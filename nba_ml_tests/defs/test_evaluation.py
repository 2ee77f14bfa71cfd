"""Predictions, grades and the walk-forward through Dagster, on real months whose chain stands in the store."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.assets import CHAIN, EVALUATION_ASSETS
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2
from nba_ml.data.split import split_by_date
from nba_ml.data.table_digest import DigestedTable, table_digest
from nba_ml.defs.assets import prediction_grades as grades_asset
from nba_ml.defs.assets import predictions as predictions_asset
from nba_ml.defs.assets import walk_forward as walk_forward_asset
from nba_ml.defs.assets.recording import INPUTS, SHOWN_INLINE, in_parts
from nba_ml.defs.assets.walk_forward import PAGE, SUMMARY
from nba_ml.defs.build import build_defs
from nba_ml.evaluation.grades import GradedMonth, grade_month
from nba_ml.evaluation.predictions import MonthPredictions, make_predictions
from nba_ml.evaluation.stored import GRADES
from nba_ml.evaluation.walk_forward import WalkForward
from nba_ml.model.record import TrainingReport
from nba_ml.model.values import TrainedModel
from nba_ml.runner.home import open_instance
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml_tests.conftest import QUICK, Trained, snapshot_of
from nba_ml_tests.defs.test_chain import Home, failure, materialised, opened
from nba_ml_tests.evaluation.test_predictions import with_lines

pytestmark = pytest.mark.slow

MONTHS = ("2021-10", "2021-11", "2021-12", "2022-01")
LAST = MONTHS[-1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """A home whose store has the snapshots of the months, no model until December, and December's."""
    folder = tmp_path_factory.mktemp("home")
    nothing = TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version="v2_33features")
    with opened(folder) as home:
        for month in MONTHS:
            home.months.save(STORED["feature_store_snapshot"], month, snapshot_of(month))
        for month in MONTHS[:2]:
            home.months.save(STORED["xgboost_model"], month, TrainedModel(nothing, None))
        home.months.save(STORED["xgboost_model"], "2021-12", TrainedModel(trained.report, trained.fitted.booster))
    return folder


@pytest.fixture
def home(store: Path, tmp_path: Path) -> Iterator[Home]:
    """A copy of it, to change."""
    shutil.copytree(store, tmp_path / "copy")
    with opened(tmp_path / "copy") as copied:
        yield copied


def evaluate(home: Home, month: str, assets: Sequence[str] = EVALUATION_ASSETS) -> dg.ExecuteInProcessResult:
    return home.run(month, assets)


def walk_forward(home: Home) -> dg.ExecuteInProcessResult:
    job = home.defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=frozenset([dg.AssetKey("walk_forward")])
    )
    return job.execute_in_process(instance=home.instance, raise_on_error=False)


def facts(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    return {name: value.value for name, value in materialised(result)[asset].metadata.items()}


def test_a_month_is_scored_by_the_model_of_the_month_before_and_graded(home: Home, trained: Trained) -> None:
    """Guards against the month's own model scoring it, and against values that the store does not give back whole."""
    result = evaluate(home, LAST)
    assert result.success
    model, snapshot = TrainedModel(trained.report, trained.fitted.booster), snapshot_of(LAST)
    expected = make_predictions(snapshot, model, LAST, XGBOOST_V1, threads=2)
    stored = home.months.load(STORED["predictions"], LAST)
    assert isinstance(stored, MonthPredictions)
    assert (stored.digest, stored.model) == (expected.digest, expected.model)
    assert table_digest(stored.table) == table_digest(expected.table)
    graded = home.months.load(STORED["prediction_grades"], LAST)
    assert isinstance(graded, GradedMonth)
    wanted = grade_month(expected, snapshot, LAST, V2_33FEATURES)
    assert (graded.digest, graded.report) == (wanted.digest, wanted.report)
    assert table_digest(graded.table) == table_digest(wanted.table)


def test_what_is_recorded_is_what_the_planner_asks_for(home: Home, trained: Trained) -> None:
    """Guards against a month that is out of date for ever, or never, because its inputs are recorded otherwise."""
    result = evaluate(home, LAST)
    versions = {asset: (event.tags or {})["dagster/data_version"] for asset, event in materialised(result).items()}
    snapshot = {"feature_store_snapshot": {LAST: snapshot_of(LAST).digest}}
    predicted = inputs_digest(
        predictions_asset.CODE_VERSION, {"xgboost_model": {"2021-12": trained.report.digest}, **snapshot}, {}
    )
    graded = inputs_digest(grades_asset.CODE_VERSION, {"predictions": {LAST: versions["predictions"]}, **snapshot}, {})
    assert facts(result, "predictions")[INPUTS] == in_parts(predicted)
    assert facts(result, "prediction_grades")[INPUTS] == in_parts(graded)
    assert versions["predictions"] == home.months.load(STORED["predictions"], LAST).digest  # type: ignore[union-attr]


def test_the_numbers_of_a_month_are_there_to_plot(home: Home, trained: Trained) -> None:
    """Guards against a metric that the UI cannot plot over months, or without n, interval and what was promised."""
    found = facts(evaluate(home, LAST), "prediction_grades")
    graded = home.months.load(STORED["prediction_grades"], LAST)
    assert isinstance(graded, GradedMonth)
    assert graded.report.breakdown is not None
    overall = graded.report.breakdown.overall
    assert (found["rows"], found["mae"], found["void"]) == (4901, overall.metrics.mae, 0)
    assert (found["mae_low"], found["mae_high"]) == (overall.mae_interval.low, overall.mae_interval.high)
    assert found["gain_over_season"] == overall.baselines["season_average"].gain
    assert found["interval_coverage"] == overall.coverage.inside
    assert found["promised_mae"] == trained.record.metrics.validation.mae
    assert "hit_rate" not in found  # no lines in 2022
    assert "| 5-10" in str(found["by_tier"])


@pytest.mark.parametrize(
    ("month", "predicted", "graded"),
    [
        ("2021-10", "no model of an earlier month, so no prediction", "only early-season rows (2,071)"),
        (
            "2021-11",
            "no model of an earlier month, so no prediction",
            "4,662 results but no predictions: there was no earlier model",
        ),
    ],
)
def test_months_before_the_first_model_are_empty_with_a_note(
    home: Home, month: str, predicted: str, graded: str
) -> None:
    """Guards against a first month that fails, or that shows a score: it has no month before it to ask for a model."""
    result = evaluate(home, month)
    assert result.success
    assert (facts(result, "predictions")["rows"], facts(result, "predictions")["note"]) == (0, predicted)
    assert str(facts(result, "prediction_grades")["note"]).startswith(graded)
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())


def test_a_month_whose_model_was_never_made_is_an_error_that_says_so(home: Home) -> None:
    """Guards against a month scored by an older model, or skipped, because the one before it was not trained."""
    home.months.objects.delete("xgboost_model/2021-12.json")
    result = evaluate(home, LAST, ["predictions"])
    assert not result.success
    assert "MissingMonthsError: xgboost_model was never materialised for 2021-12" in failure(result, "predictions")


def test_the_walk_forward_takes_what_is_graded_and_names_what_is_not(home: Home) -> None:
    """Guards against a summary that fails on months never graded, or passes over them in silence."""
    for month in ("2021-10", LAST):
        assert evaluate(home, month).success
    result = walk_forward(home)
    assert result.success
    found = facts(result, "walk_forward")
    assert (found["months_measured"], found["predictions"]) == (1, 4901)
    assert found["missing"] == "2021-11 to 2021-12, 2022-02 to 2025-06"
    for name in ("curve.png", "residuals.svg", "interval.svg"):
        assert f"(/nba_ml/walk_forward/{name})" in str(found[name.partition(".")[0]])
        assert home.months.objects.read(f"walk_forward/{name}") is not None
    drawn = home.months.objects.read("walk_forward/curve.png")
    assert drawn is not None
    assert drawn.data.startswith(b"\x89PNG")
    assert int.from_bytes(drawn.data[16:20], "big") <= 350  # its width: the UI's column of values is not much wider
    long = [name for name, value in found.items() if name != "report_file" and len(str(value)) >= SHOWN_INLINE]
    assert long == [], "shown only after a click"
    page, summary = (home.months.objects.read(name) for name in (PAGE, f"walk_forward/{SUMMARY}"))
    assert page is not None
    assert summary is not None
    assert found["report"] == "[The walk-forward report](/nba_ml/walk_forward/report.html)"
    assert found["report_file"] == home.months.objects.uri(PAGE)
    assert b"on unseen games" in page.data
    walk = WalkForward.model_validate_json(summary.data)
    graded = home.months.load(STORED["prediction_grades"], LAST)
    assert isinstance(graded, GradedMonth)
    assert walk.months[LAST] == graded.report
    assert walk.overall == graded.report.breakdown
    tags = materialised(result)["walk_forward"].tags or {}
    assert tags["dagster/data_version"] == walk.digest


def test_the_rows_of_one_system_at_a_time_are_in_memory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the memory of the report: with the rows of both systems over 36 months it took 80 MB more."""
    assert evaluate(home, LAST).success
    home.months.save(GRADES.of(XGBOOST_V2), LAST, home.months.require(GRADES, [LAST])[LAST])
    settings = replace(home.settings, systems=(XGBOOST_V1, XGBOOST_V2))
    in_memory: list[int] = []
    read = walk_forward_asset.graded_months

    def counted(*arguments: Any) -> dict[str, GradedMonth]:
        in_memory.append(sum(isinstance(each, GradedMonth) for each in gc.get_objects()))
        return read(*arguments)

    gc.collect()
    monkeypatch.setattr(walk_forward_asset, "graded_months", counted)
    result = walk_forward(replace(home, settings=settings, defs=build_defs(settings)))
    assert result.success
    first, second = in_memory  # Dagster may still hold what was graded above
    assert second == first
    assert facts(result, "walk_forward")["gain_of_xgboost_v1"] == 0.0, "both have the same rows"


def test_the_walk_forward_before_any_grade_says_so(home: Home) -> None:
    """Guards against a button that fails in a new home."""
    result = walk_forward(home)
    assert result.success
    assert facts(result, "walk_forward")["note"] == "no month has been graded with a result yet"
    assert "curve" not in facts(result, "walk_forward")


def test_evaluation_is_no_part_of_what_is_published(home: Home) -> None:
    """Guards against a model that waits for grades it can only get a month later."""
    assert not set(EVALUATION_ASSETS) & set(CHAIN)
    graph = home.defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get(dg.AssetKey("predictions")).parent_keys} == {
        "xgboost_model", "feature_store_snapshot",
    }  # fmt: skip
    assert {key.to_user_string() for key in graph.get(dg.AssetKey("gcs_artifact")).parent_keys} == {"model_metadata"}


def test_a_damaged_value_is_an_error_that_says_what_to_do(home: Home) -> None:
    """Guards against grades of an older form, or cut short, that fail with a KeyError."""
    assert evaluate(home, LAST).success
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    home.months.objects.write(f"prediction_grades/{LAST}.parquet", bytes(sink.getvalue()))
    result = walk_forward(home)
    assert not result.success
    assert f"Materialise prediction_grades for {LAST} again" in failure(result, "walk_forward")


def prices_of(predictions: pa.Table, over: Sequence[float], under: Sequence[float]) -> pa.Table:
    whose = predictions.select(["player_lookup", "game_date"])
    return whose.append_column("over_price", pa.array(over)).append_column("under_price", pa.array(under))


def test_prices_of_the_lines_are_graded_and_part_of_what_a_month_is_made_from(store: Path, tmp_path: Path) -> None:
    """Guards against prices that never reach the grades, against predictions and grades that stay when prices arrive,
    and against predictions that are recommended at -110 and settled at other prices."""
    source, snapshot = tmp_path / "data", snapshot_of(LAST)
    shutil.copytree(store, tmp_path / "home")
    (source / "player_games").mkdir(parents=True)
    (source / "prop_lines").mkdir()
    for month in MONTHS:
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", source / "player_games")
    games = EmbeddedFeatureSource(data=str(source)).player_game_summary(LAST).table
    ids = dict(zip(games["player_lookup"].to_pylist(), games["universal_player_id"].to_pylist(), strict=True))
    names = snapshot.table["player_lookup"].to_pylist()
    lines = np.floor(np.nan_to_num(snapshot.table["points_avg_season"].to_numpy(), nan=8.0)) + 0.5
    listed = {
        "game_date": snapshot.table["game_date"],
        "player_id": pa.array([int(ids[name]) for name in names]),
        "player_name": names,
        "line": lines,
    }
    prices = {"under_price": np.full(len(lines), 2.0)}
    books = [
        pa.table({**listed, "book": [book] * len(lines), "over_price": np.full(len(lines), over), **prices})
        for book, over in (("a", 1.8), ("b", 1.9))
    ]
    with opened(tmp_path / "home") as shipped:
        settings = replace(shipped.settings, data=source)
    with open_instance(settings) as instance:
        home = Home(settings, build_defs(settings), instance)
        home.months.save(STORED["player_game_summary"], LAST, DigestedTable(games, table_digest(games)))
        home.months.save(STORED["feature_store_snapshot"], LAST, with_lines(snapshot, lines))
        found, predicted = [], []
        for priced in (books[0].drop_columns(["over_price", "under_price"]), pa.concat_tables(books)):
            pq.write_table(priced, source / "prop_lines" / "lines.parquet")
            result = evaluate(home, LAST)
            assert result.success
            found.append(facts(result, "prediction_grades"))
            predicted.append((facts(result, "predictions"), home.months.load(STORED["predictions"], LAST)))
        graded = home.months.load(STORED["prediction_grades"], LAST)
        outside = EmbeddedFeatureSource(data=str(source)).prices_fingerprint(LAST)
        said = {e.check_name: str(e.description) for e in result.get_asset_check_evaluations()}["market_claim"]
    assert isinstance(graded, GradedMonth)
    assert set(graded.table["over_price"].to_pylist()) == {1.85}  # the median of the books that have the line
    assert graded.report.market is not None
    assert graded.report.market.prices is not None
    assert found[1]["prices"] == graded.report.market.prices.model.n > 4000
    assert "prices" not in found[0]
    assert found[0]["brier"] == found[1]["brier"]
    assert found[0][INPUTS] != found[1][INPUTS]
    (usual, plain), (at_prices, made) = predicted
    assert usual[INPUTS] != at_prices[INPUTS]
    assert isinstance(plain, MonthPredictions)
    assert isinstance(made, MonthPredictions)
    n = len(made.table)
    assert made.digest == plain.at_prices(prices_of(made.table, [1.85] * n, [2.0] * n)).digest != plain.digest
    assert graded.table["recommendation"].equals(made.table["recommendation"])
    assert set(outside) == {"prices"}
    assert "not enough prices to say" in said
    assert "3,000 of 300 are needed" in said
