"""When an asset is out of date, on the real graph with an event log and values that were written by hand.

Nothing is computed: what each materialisation was made from is worked out here again, from the parents below.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset

from nba_ml.checks.check import Check
from nba_ml.checks.registry import OVERRIDABLE, STORED, all_checks
from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.progress import MonthProgress, TableState
from nba_ml.data.split import SplitManifest, split_by_date
from nba_ml.defs.assets.recording import INPUTS
from nba_ml.defs.build import build_defs
from nba_ml.defs.check_results import CheckLog
from nba_ml.defs.resources import month_rows_of
from nba_ml.model.calibration import Coverage, CoverageReport, calibrate
from nba_ml.model.fitting import Hyperparameters
from nba_ml.model.metrics import Interval, PredictionMetrics
from nba_ml.model.record import Judgement, ModelRecord, TrainingReport
from nba_ml.model.stored import METADATA, MODEL
from nba_ml.model.values import DescribedModel, TrainedModel
from nba_ml.registry.artifact import ARTIFACT, Artifact
from nba_ml.runner.planner import Planner
from nba_ml.settings import SAMPLE_DATA, Settings
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.month_prices import EmbeddedMonthPrices
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore

MONTHS = ("2021-10", "2021-11", "2021-12")
LAST = MONTHS[-1]
SOURCE = EmbeddedFeatureSource(data=str(SAMPLE_DATA))
RUNS = count(1)
EVERY = (*MONTHLY_ASSETS, "challengers")

WINDOW, SAME, BEFORE = "every month so far", "the month", "the month before"
PARENTS: Mapping[str, Mapping[str, str]] = {
    "player_game_summary": {},
    "ml_feature_store_v2": {"player_game_summary": WINDOW},
    "feature_store_snapshot": {"player_game_summary": SAME, "ml_feature_store_v2": SAME},
    "train_split": {"feature_store_snapshot": WINDOW},
    "xgboost_model": {"train_split": SAME, "feature_store_snapshot": WINDOW},
    "model_metadata": {"xgboost_model": SAME},
    "gcs_artifact": {"model_metadata": SAME},
    "predictions": {"xgboost_model": BEFORE, "feature_store_snapshot": SAME},
    "prediction_grades": {"predictions": SAME, "feature_store_snapshot": SAME},
    "challengers": {"xgboost_model": SAME, "feature_store_snapshot": WINDOW, "train_split": SAME},
}


@cache
def graph() -> tuple[Settings, dg.Definitions]:
    settings = Settings.from_environment({})
    return settings, build_defs(settings)


def months_of(when: str, month: str) -> list[str]:
    at = MONTHS.index(month)
    return list(MONTHS[: at + 1] if when == WINDOW else MONTHS[at : at + 1] if when == SAME else MONTHS[:at][-1:])


def outside(asset: str, month: str) -> dict[str, str]:
    if asset == "player_game_summary":
        return {"source": SOURCE.fingerprint(month)}
    if asset == "ml_feature_store_v2":
        return {"lines": SOURCE.lines_fingerprint(month)}
    return {"parameters": Hyperparameters().digest} if asset == "xgboost_model" else {}


@dataclass
class Place:
    """A store, an event log, and what was written into them."""

    root: Path
    instance: dg.DagsterInstance
    limits: Thresholds = field(default_factory=Thresholds)

    @property
    def store(self) -> MonthStore:
        return MonthStore(DirectoryStore(self.root / "store"))

    @property
    def artifacts(self) -> DirectoryStore:
        return DirectoryStore(self.root / "artifacts")

    def planner(self, months: tuple[str, ...] = MONTHS) -> Planner:
        settings, defs = graph()
        rows = month_rows_of(settings)
        return Planner(defs, self.instance, self.store, self.artifacts, rows, SOURCE, months, self.limits)

    def event(self, asset: str, month: str, inputs: str | None = None) -> dg.AssetMaterialization:
        code = graph()[1].resolve_asset_graph().get(dg.AssetKey(asset)).code_version or ""
        parents = {name: {m: f"{name} {m}" for m in months_of(when, month)} for name, when in PARENTS[asset].items()}
        return dg.AssetMaterialization(
            asset,
            partition=month,
            metadata={INPUTS: inputs or inputs_digest(code, parents, outside(asset, month))},
            tags={"dagster/data_version": f"{asset} {month}"},
        )

    def materialise(self, asset: str, month: str, inputs: str | None = None) -> None:
        self.instance.report_runless_asset_event(self.event(asset, month, inputs))

    def check(self, check: Check, month: str, *, passed: bool = True) -> None:
        [record] = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(check.asset), asset_partitions=[month]), limit=1
        ).records
        evaluation = AssetCheckEvaluation(
            asset_key=dg.AssetKey(check.asset),
            check_name=check.name,
            passed=passed,
            metadata={"threshold": check.threshold},
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            ),
            partition=month,
        )
        self.report(dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)

    def begin(self, check: Check, month: str) -> None:
        """What a run leaves that was killed before the check ended."""
        planned = AssetCheckEvaluationPlanned(
            asset_key=dg.AssetKey(check.asset),
            check_name=check.name,
            partitions_subset=DefaultPartitionsSubset({month}),
        )
        self.report(dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned)

    def report(self, kind: dg.DagsterEventType, data: AssetCheckEvaluation | AssetCheckEvaluationPlanned) -> None:
        event = dg.DagsterEvent(kind.value, job_name="by_hand", event_specific_data=data)
        # Of a run each: Dagster has one result of a check in a run.
        self.instance.report_dagster_event(event, run_id=str(next(RUNS)))

    def check_all(self, asset: str, month: str) -> None:
        for check in all_checks(self.limits):
            if check.asset == asset:
                self.check(check, month)

    def keep(self, asset: str, month: str) -> None:
        """A value under the asset's name; only the two that the planner verifies have content."""
        if asset == MODEL.name:
            booster = f"a booster of {month}".encode()
            report = TrainingReport(
                split=SplitManifest(snapshots=()),
                parameters=Hyperparameters(),
                feature_version="v2_33features",
                model_sha256=bytes_digest(booster),
            )
            self.store.save(MODEL, month, TrainedModel(report, booster))
        elif asset == ARTIFACT.name:
            self.artifacts.write(f"{month}.json", b"{}")
            self.store.save(
                ARTIFACT, month, Artifact(model_id="a", uris={"model": self.artifacts.uri(f"{month}.json")})
            )
        else:
            self.store.objects.write(STORED[asset].file(month), b"")

    def make(self, asset: str, month: str) -> None:
        self.keep(asset, month)
        self.materialise(asset, month)
        self.check_all(asset, month)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Place(tmp_path, instance)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Every asset of every month is there, was made from the present inputs, and was checked. Read only."""
    root = tmp_path_factory.mktemp("whole")
    with dg.DagsterInstance.ephemeral() as instance:
        place = Place(root, instance)
        for month in MONTHS:
            for asset in EVERY:
                place.make(asset, month)
        yield place


@pytest.fixture
def first(place: Place) -> Place:
    """The first month's rows and split, complete, for a test to change."""
    for asset in EVERY[:4]:
        place.make(asset, MONTHS[0])
    return place


@pytest.fixture
def copied(whole: Place, tmp_path: Path) -> Place:
    """The files of all months, for a test to harm; the event log stays."""
    shutil.copytree(whole.root / "store", tmp_path / "store")
    shutil.copytree(whole.root / "artifacts", tmp_path / "artifacts")
    place = replace(whole, root=tmp_path)
    for month in MONTHS:  # its addresses name the folder
        place.keep("gcs_artifact", month)
    return place


def test_what_is_complete_is_not_out_of_date(whole: Place) -> None:
    planner = whole.planner()
    for month in MONTHS:
        assert planner.out_of_date(month, EVERY) == ()
        assert planner.can_grade(month)
        assert planner.first_of(month, ()) == ()
    assert planner.unjudged(MONTHS, EVERY) == {}
    assert planner.last_month == LAST
    assert planner.chain == EVERY


def test_each_input_counts(whole: Place) -> None:
    """Guards --only-missing: another input of one month is seen by all that read that month, and by nothing else."""
    for asset in EVERY:
        made = {asset: whole.event(asset, MONTHS[0], inputs="others")}
        planner = whole.planner()
        planner.remember(MONTHS[0], [asset], {asset: replace_version(made[asset], "another")})
        readers = {
            (reader, month)
            for reader in EVERY
            for month in MONTHS
            for parent, when in PARENTS[reader].items()
            if parent == asset and MONTHS[0] in months_of(when, month)
        }
        for month in MONTHS:
            for each in EVERY:
                out = planner.out_of_date(month, [each]) == (each,)
                assert out is ((each, month) in readers or (each, month) == (asset, MONTHS[0])), (asset, each, month)


def test_an_older_month_that_was_added_is_an_input(place: Place) -> None:
    """Guards data that begin earlier than they did: a model of the later months alone is not the model of all."""
    for asset in EVERY[:3]:
        place.make(asset, MONTHS[1])
    code = graph()[1].resolve_asset_graph().get(dg.AssetKey("train_split")).code_version or ""
    alone = {"feature_store_snapshot": {MONTHS[1]: f"feature_store_snapshot {MONTHS[1]}"}}
    place.keep("train_split", MONTHS[1])
    place.materialise("train_split", MONTHS[1], inputs_digest(code, alone, {}))
    place.check_all("train_split", MONTHS[1])
    assert place.planner(MONTHS[1:]).out_of_date(MONTHS[1], ["train_split"]) == ()
    assert place.planner(MONTHS).out_of_date(MONTHS[1], ["train_split"]) == ("train_split",)


def replace_version(event: dg.AssetMaterialization, version: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        event.asset_key, partition=event.partition, metadata=event.metadata, tags={"dagster/data_version": version}
    )


def test_prices_that_arrive_are_a_reason_to_predict_and_to_grade_again(whole: Place, tmp_path: Path) -> None:
    """Guards against bets recommended at -110 that stay so once the month's lines have prices."""
    (tmp_path / "prop_lines").mkdir()
    line = {"game_date": date(2021, 12, 5), "player_id": 1, "player_name": "A", "book": "a", "line": 20.5}
    pq.write_table(pa.Table.from_pylist([{**line, "over_price": 1.9}]), tmp_path / "prop_lines" / "lines.parquet")
    source = EmbeddedFeatureSource(data=str(tmp_path))
    planner = replace(whole.planner(), prices=EmbeddedMonthPrices(source, str(whole.root / "store")))
    assert planner.out_of_date(MONTHS[1], EVERY) == ()
    assert planner.out_of_date(LAST, EVERY) == ("predictions", "prediction_grades")


def test_what_a_new_value_feeds_is_made_with_it(whole: Place) -> None:
    """Guards against a run that makes an asset anew and leaves what was made from the old one."""
    planner = whole.planner()
    planner.remember(LAST, ["train_split"], {"train_split": whole.event("train_split", LAST, inputs="others")})
    assert planner.out_of_date(LAST, EVERY) == (*EVERY[3:7], "challengers")
    assert planner.out_of_date(LAST, ["xgboost_model"]) == (), "the digest of the split is the same"
    planner = whole.planner()
    planner.remember(
        MONTHS[1], ["train_split"], {"train_split": whole.event("train_split", MONTHS[1], inputs="others")}
    )
    assert planner.out_of_date(LAST, EVERY) == (), "another month's split"


@pytest.mark.parametrize("missing", ["value", "event"])
def test_an_incomplete_month_is_made_again(place: Place, missing: str) -> None:
    """Guards against a process killed between a value and its record."""
    asset, month = "feature_store_snapshot", MONTHS[0]
    for parent in EVERY[:2]:
        place.make(parent, month)
    if missing != "value":
        place.keep(asset, month)
    else:
        place.materialise(asset, month)
        place.check_all(asset, month)
    planner = place.planner()
    assert planner.out_of_date(month, EVERY[:3]) == (asset,)
    assert planner.first_of(month, (asset, "train_split")) == (), "there is no older snapshot"
    place.keep(asset, month)
    assert (place.planner().out_of_date(month, EVERY[:3]) == ()) is (missing == "value")


@pytest.mark.parametrize("stops", [True, False])
def test_a_failed_check_that_stops_a_run_leaves_its_value_incomplete(first: Place, stops: bool) -> None:
    """Guards against going on from a value whose check stopped the run, and against repeating one that was refused."""
    check = next(c for c in all_checks() if c.asset == "train_split" and c.stops_run is stops)
    first.check(check, MONTHS[0], passed=False)
    assert first.planner().out_of_date(MONTHS[0], EVERY[:4]) == (("train_split",) if stops else ())


@pytest.mark.parametrize("stops", [True, False])
def test_a_check_that_never_ended_is_missing(first: Place, stops: bool) -> None:
    """Guards against a run killed in its checks, whose value would count as checked; the others need not run again."""
    check = next(c for c in all_checks() if c.asset == "train_split" and c.stops_run is stops)
    first.materialise("train_split", MONTHS[0])
    for other in all_checks():
        if other.asset == "train_split" and other.name != check.name:
            first.check(other, MONTHS[0])
    first.begin(check, MONTHS[0])
    planner = first.planner()
    assert planner.out_of_date(MONTHS[0], EVERY[:4]) == ()
    [missing] = planner.unjudged(MONTHS[:1], ["train_split"]).values()
    assert [each.key for each in missing] == [check.key]
    assert planner.never_ran(MONTHS[0], missing) == {check.key}


def test_a_model_without_its_checks_predicts_nothing(copied: Place) -> None:
    """Guards grades of a model that the process did not live to check: the next month waits for them."""
    copied.materialise("xgboost_model", MONTHS[0])
    planner = copied.planner()
    assert not planner.can_grade(MONTHS[1])
    assert planner.out_of_date(MONTHS[0], ["xgboost_model"]) == ()
    planner.checked(MONTHS[0], ["xgboost_model"])
    assert planner.can_grade(MONTHS[1])
    copied.check_all("xgboost_model", MONTHS[0])  # the event log is that of the other tests
    assert copied.planner().can_grade(MONTHS[1])


def test_a_materialisation_reported_in_the_ui_is_out_of_date(first: Place) -> None:
    """Guards every command that plans: such an event has no inputs and no data version, and must not end one."""
    reported = dg.AssetMaterialization("player_game_summary", partition=MONTHS[0])
    first.instance.report_runless_asset_event(reported)
    assert first.planner().out_of_date(MONTHS[0], EVERY[:2]) == EVERY[:2]
    # One with a data version alone, under a value of which it is not known what it was made from.
    first.instance.report_runless_asset_event(replace_version(reported, f"player_game_summary {MONTHS[0]}"))
    assert first.planner().out_of_date(MONTHS[0], EVERY[:1]) == EVERY[:1]
    assert first.planner().out_of_date(MONTHS[0], EVERY[1:4]) == ()


def test_one_check_on_an_older_value_is_a_check_too_few(first: Place) -> None:
    """Guards against a value that was made again and only partly checked, taken for checked."""
    late, *rest = [check for check in all_checks() if check.asset == "train_split"]
    first.materialise("train_split", MONTHS[0])
    for check in rest:
        first.check(check, MONTHS[0])
    planner = first.planner()
    assert set(planner.unjudged(MONTHS[:1], ["train_split", EVERY[2]])) == {("train_split", MONTHS[0])}
    first.check(late, MONTHS[0])
    planner = first.planner()
    assert planner.out_of_date(MONTHS[0], EVERY[:4]) == ()
    assert planner.unjudged(MONTHS[:1], ["train_split"]) == {}


def test_results_are_kept_until_the_month_is_forgotten(first: Place) -> None:
    """Guards against results from before a run, and against a query for each month of a backfill."""
    log, month = CheckLog(first.instance), MONTHS[0]
    check = next(each for each in all_checks() if each.asset == "train_split")
    assert log.judged([check], MONTHS)[check.key, month].passed
    first.check(check, month, passed=False)
    assert log.judged([check], MONTHS)[check.key, month].passed
    log.forget(month)
    result = log.judged([check], MONTHS)[check.key, month]
    assert (result.passed, result.evaluation.check_name, result.threshold) == (False, check.name, check.threshold)
    assert log.judged([replace(check, threshold="another")], MONTHS) == {}


def test_a_value_without_a_month_makes_all_results_old(first: Place) -> None:
    """Guards a table that was reported as a whole: results on its months are of the one before."""
    check = next(each for each in all_checks() if each.asset == "train_split")
    first.instance.report_runless_asset_event(dg.AssetMaterialization("train_split"))
    assert CheckLog(first.instance).results([check], MONTHS) == {}


def test_a_result_under_another_threshold_does_not_judge(whole: Place) -> None:
    other = replace(whole, limits=Thresholds(min_gain=-9.0))
    assert set(other.planner().unjudged(MONTHS, EVERY)) == {("xgboost_model", month) for month in MONTHS}
    assert other.planner().unjudged(MONTHS[:1], ["train_split"]) == {}


@pytest.mark.parametrize("asset", ["xgboost_model", "gcs_artifact"])
@pytest.mark.parametrize("harm", ["record missing", "record damaged", "part missing"])
def test_what_a_value_refers_to_must_be_there(copied: Place, asset: str, harm: str) -> None:
    """Guards the promise of --only-missing: a damaged model, or one whose published objects are gone, is made again."""
    middle = MONTHS[1]
    record = copied.root / "store" / STORED[asset].file(middle)
    booster = copied.root / f"store/boosters/{bytes_digest(f'a booster of {middle}'.encode())}.json"
    planner = copied.planner()
    if harm == "record missing":
        record.unlink()
    elif harm == "record damaged":
        record.write_bytes(b"{")
    else:
        (booster if asset == "xgboost_model" else copied.root / f"artifacts/{middle}.json").unlink()
    assert planner.out_of_date(middle, [asset]) == (asset,)
    assert planner.out_of_date(MONTHS[0], [asset]) == planner.out_of_date(LAST, [asset]) == ()
    assert planner.can_grade(LAST) is (asset == "gcs_artifact")
    assert planner.can_grade(middle)


def test_what_a_run_made_is_current_and_what_it_did_not_make_is_not(copied: Place) -> None:
    planner = copied.planner()
    planner.remember(LAST, EVERY[3:6], {"train_split": copied.event("train_split", LAST)})
    assert planner.out_of_date(LAST, EVERY) == ("xgboost_model", "model_metadata", "gcs_artifact", "challengers")
    (copied.root / "store" / STORED["xgboost_model"].file(LAST)).unlink()
    planner.remember(LAST, EVERY[4:6], {asset: copied.event(asset, LAST) for asset in EVERY[4:6]})
    assert planner.out_of_date(LAST, EVERY) == (), "it was just made: it is not read again"


def test_the_snapshot_comes_first_where_it_may_be_unchanged(whole: Place) -> None:
    """Guards the saving: a snapshot that is made again often has the digest that it had."""
    planner = whole.planner()
    summary, features, snapshot, split = EVERY[:4]
    assert planner.first_of(LAST, (summary, features, snapshot, split)) == (summary, features, snapshot)
    assert planner.first_of(LAST, (snapshot, split)) == (snapshot,)
    assert planner.first_of(LAST, (snapshot,)) == (), "there is no rest"
    assert planner.first_of(LAST, (features, split)) == (), "no snapshot among them"
    assert planner.first_of("2022-01", (snapshot, split)) == (), "it has none yet"


def test_what_is_stored_is_listed_from_whatever_inputs(place: Place) -> None:
    place.keep("xgboost_model", MONTHS[0])
    place.keep("train_split", MONTHS[0])
    place.keep("train_split", LAST)
    planner = place.planner(MONTHS[:2])
    assert planner.stored_months("train_split") == {MONTHS[0]}
    assert planner.stored_months("xgboost_model") == {MONTHS[0]}
    assert planner.stored_assets(MONTHS[0]) == {"train_split", "xgboost_model"}
    assert planner.stored_assets(MONTHS[1]) == set()
    assert planner.last_month == MONTHS[1]


@dataclass(frozen=True)
class Tables:
    """The two tables of a source that others fill: month -> rows of the summary and of the features."""

    rows: Mapping[str, tuple[int, int]]

    def progress(self, months: list[str], system: System) -> list[MonthProgress]:
        assert system == XGBOOST_V1
        return [
            MonthProgress(month, table("s", month, self.rows[month][0]), table("f", month, self.rows[month][1]), 0, 0.0)
            for month in months
            if month in self.rows
        ]


def table(name: str, month: str, rows: int) -> TableState:
    return TableState(rows, rows, 1, 1, None, f"{name} {month}")


def test_observed_tables_are_inputs_like_others(whole: Place) -> None:
    """Guards a deployment on BigQuery, whose tables no run of ours makes."""
    settings, defs = graph()
    rows = Tables({MONTHS[0]: (9, 9), MONTHS[1]: (9, 9), LAST: (9, 0)})
    planner = Planner(
        defs,
        whole.instance,
        whole.store,
        whole.artifacts,
        rows,  # type: ignore[arg-type]
        None,
        MONTHS,
        settings.thresholds,
    )
    assert planner.last_month == MONTHS[1], "December has no features yet"
    assert planner.out_of_date(MONTHS[0], ["feature_store_snapshot"]) == ("feature_store_snapshot",)
    versions = {
        "player_game_summary": {MONTHS[0]: f"s {MONTHS[0]}"},
        "ml_feature_store_v2": {MONTHS[0]: f"f {MONTHS[0]}"},
    }
    event = dg.AssetMaterialization(
        "feature_store_snapshot",
        partition=MONTHS[0],
        tags={"dagster/data_version": f"feature_store_snapshot {MONTHS[0]}"},
        metadata={INPUTS: inputs_digest("2", versions, {})},
    )
    planner.remember(MONTHS[0], ["feature_store_snapshot"], {"feature_store_snapshot": event})
    assert planner.out_of_date(MONTHS[0], ["feature_store_snapshot"]) == ()
    assert planner.out_of_date(LAST, ["feature_store_snapshot"]) == ("feature_store_snapshot",)
    empty = Planner(
        defs,
        whole.instance,
        whole.store,
        whole.artifacts,
        Tables({}),  # type: ignore[arg-type]
        None,
        MONTHS,
        settings.thresholds,
    )
    assert empty.last_month == MONTHS[0]


def record_of(booster: bytes) -> ModelRecord:
    """A record of a model of the first month, whose numbers mean nothing."""
    days = np.datetime64("2021-10-20") + np.arange(10)
    metrics = PredictionMetrics(n=1, mae=1.0, rmse=1.0, bias=0.0, within_3=1.0, within_5=1.0)
    one = Coverage(n=1, nominal=0.8, inside=0.8, below=0.1, above=0.1)
    return ModelRecord(
        system_id="xgboost_v1",
        model_type="xgboost",
        model_id="a",
        model_sha256=bytes_digest(booster),
        measured_sha256=bytes_digest(booster),
        feature_version="v2_33features",
        feature_names=(),
        newest_month=MONTHS[0],
        months=MONTHS[:1],
        first_date="2021-10-20",
        last_date="2021-10-29",
        rows=10,
        players=1,
        split=split_by_date({MONTHS[0]: ("a snapshot", days)}),
        parameters=Hyperparameters(),
        best_iteration=1,
        rounds_run=1,
        metrics=Judgement(
            train=metrics,
            early_stopping=metrics,
            validation=metrics,
            validation_mae_interval=Interval(low=0.0, high=1.0),
            baselines={},
            tiers={},
            above_prediction=0.5,
            equal_to_prediction=0.0,
            lowest_prediction=0.0,
            highest_prediction=1.0,
            refit_distance=0.0,
            coverage=CoverageReport(overall=one, tiers={}),
        ),
        calibration=calibrate(np.ones(3), np.ones(3)),
        importance={},
        reference_rows=(),
        libraries={},
    )


def test_a_refusal_is_final_only_when_every_check_has_run(place: Place) -> None:
    """Guards against asking a publisher again that must refuse, and against giving up where a check was never run."""
    month = MONTHS[0]

    def refusal() -> object:
        return place.planner().refusal(month)

    assert refusal() is None, "no record"
    place.store.save(METADATA, month, DescribedModel(None, None))
    assert refusal() is None, "no model yet"
    record = record_of(b"a booster")
    place.store.save(METADATA, month, DescribedModel(record, None))
    place.store.objects.write(f"boosters/{record.model_sha256}.json", b"a booster")
    digests = {
        "feature_store_snapshot": "a snapshot",
        "train_split": record.split.digest,
        "xgboost_model": record.model_sha256,
        "model_metadata": record.digest,
    }
    for asset, digest in digests.items():
        assert refusal() is None, "not every check has run"
        place.instance.report_runless_asset_event(replace_version(place.event(asset, month), digest))
        place.check_all(asset, month)
    assert refusal() is None, "every check passed"
    gate = next(check for check in all_checks() if check.asset == "xgboost_model" and check.key in OVERRIDABLE)
    place.check(gate, month, passed=False)
    assert gate.name in str(refusal())
    place.materialise("train_split", month)
    assert refusal() is None, "the split's checks have not run on its new value"
