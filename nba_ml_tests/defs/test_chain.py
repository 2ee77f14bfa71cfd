"""The whole chain through Dagster, on real months: October to December 2021, box scores to published model.

Under lenient limits, or these months would not be published. They are run once; a test that changes anything works
on a copy of the home.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from nba_ml.checks.gcs_artifact import PUBLISHED
from nba_ml.checks.registry import STORED, all_checks
from nba_ml.contract.assets import CHAIN
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.table_digest import DigestedTable, table_digest
from nba_ml.defs.assets.recording import INPUTS, SHOWN_INLINE, whole
from nba_ml.defs.build import build_defs
from nba_ml.defs.refusals import MODEL_ID, NOT_PUBLISHED
from nba_ml.defs.resources import open_store
from nba_ml.model.values import DescribedModel
from nba_ml.registry.artifact import ARTIFACT, Artifact
from nba_ml.registry.publication import Bundle, list_published, publish
from nba_ml.registry.reader import reads_from, verify_bundle
from nba_ml.registry.verdict import CheckVerdict
from nba_ml.runner.backfill import checks_job
from nba_ml.runner.check_run import CheckStatus, check_month
from nba_ml.runner.home import open_instance
from nba_ml.runner.session import open_session
from nba_ml.settings import SAMPLE_DATA, Settings
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects
from nba_ml_tests.conftest import QUICK
from nba_ml_tests.limits import LENIENT

pytestmark = pytest.mark.slow

BUNDLE_FILES = 6
"""Booster, record and manifest, the card as Markdown and HTML, and the provenance."""

MONTHS = ("2021-10", "2021-11", "2021-12")
LAST = MONTHS[-1]

QUICKLY = {name: getattr(QUICK, name) for name in ("num_boost_round", "learning_rate", "early_stopping_rounds")}
BADLY = {"num_boost_round": 1, "learning_rate": 0.01}
"""One small step from the median of all points: a MAE far above 5.0."""


@dataclass(frozen=True)
class Home:
    """A home with its graph and Dagster's instance."""

    settings: Settings
    defs: dg.Definitions
    instance: dg.DagsterInstance

    @property
    def months(self) -> MonthStore:
        return open_store(self.settings.store)

    @property
    def artifacts(self) -> DirectoryStore:
        opened = open_objects(self.settings.artifact_root)
        assert isinstance(opened, DirectoryStore)
        return opened

    def run(
        self,
        month: str,
        assets: Sequence[str] = CHAIN,
        *,
        checks: bool = True,
        config: dict[str, float] = QUICKLY,
        overrides: dict[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run of the assets of a month, with their checks or, as a UI lets people choose, without."""
        ops: dict[str, object] = {"xgboost_model": {"config": config}} if "xgboost_model" in assets else {}
        if overrides is not None:
            listed = [{"check": check, "reason": reason} for check, reason in overrides.items()]
            ops["gcs_artifact"] = {"config": {"overrides": listed}}
        job = self.defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=frozenset(dg.AssetKey(asset) for asset in assets),
            asset_check_selection=None if checks else frozenset(),
        )
        return self._execute(job, month, ops)

    def make(self, asset: str, **config: object) -> dg.ExecuteInProcessResult:
        """One run of an asset that has no months, its fields as given."""
        job = self.defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=frozenset([dg.AssetKey(asset)])
        )
        return self._execute(job, None, {asset: {"config": config}} if config else {})

    def facts(self, asset: str, **config: object) -> dict[str, object]:
        """What an asset that has no months records in a run that must succeed."""
        result = self.make(asset, **config)
        assert result.success
        return {name: value.value for name, value in materialised(result)[asset].metadata.items()}

    def run_checks(self, month: str, asset: str) -> dg.ExecuteInProcessResult:
        """One run of an asset's checks and of nothing else."""
        return self._execute(checks_job(self.defs, [c for c in all_checks() if c.asset == asset]), month, {})

    def _execute(self, job: dg.JobDefinition, month: str | None, ops: object) -> dg.ExecuteInProcessResult:
        quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
        return job.execute_in_process(
            instance=self.instance,
            partition_key=month,
            run_config={"ops": ops, "loggers": quiet},
            raise_on_error=False,
        )

    def files(self) -> dict[str, bytes]:
        """Everything published, byte for byte."""
        return {name: found.data for name in self.artifacts.names("") if (found := self.artifacts.read(name))}


@contextmanager
def opened(folder: Path, limits: Thresholds = LENIENT, data: Path = SAMPLE_DATA) -> Iterator[Home]:
    settings = Settings(
        home=folder,
        store=str(folder / "store"),
        artifact_root=str(folder / "artifacts"),
        data=data,
        dagster_home=folder / "dagster",
        threads=2,
        thresholds=limits,
    )
    with open_instance(settings) as instance:
        yield Home(settings, build_defs(settings), instance)


def materialised(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {event.asset_key.to_user_string(): event for event in events}


def data_versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {asset: (event.tags or {})["dagster/data_version"] for asset, event in materialised(result).items()}


def refusal(home: Home, result: dg.ExecuteInProcessResult) -> str:
    """Why the month's model was refused, in a run that is green."""
    assert result.success
    facts = materialised(result)["gcs_artifact"].metadata
    assert MODEL_ID not in facts
    artifact = home.months.load(ARTIFACT, LAST)
    assert artifact is not None
    assert artifact.refused is not None
    assert facts[NOT_PUBLISHED].value == str(artifact.refused)
    return "; ".join(f"{each.check} on {each.asset} of {each.month} ({each.found})" for each in artifact.refused.checks)


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    """Class and message of the error that a step raised, without Dagster's wrapping."""
    [event] = [e for e in result.filter_events(lambda e: e.is_step_failure) if e.step_key == step]
    error = event.step_failure_data.error
    assert error is not None
    while error.cause is not None and str(error.cls_name).startswith(("Dagster", "Failure")):
        error = error.cause
    return f"{error.cls_name}: {error.message}"


@dataclass(frozen=True)
class Chain:
    """The months as they were run, and where."""

    folder: Path
    results: dict[str, dg.ExecuteInProcessResult]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """All assets and checks of three months."""
    folder = tmp_path_factory.mktemp("chain") / "home"
    with opened(folder) as home:
        return Chain(folder, {month: home.run(month) for month in MONTHS})


@pytest.fixture
def home(chain: Chain, tmp_path: Path) -> Iterator[Home]:
    """A copy of the home after the three months."""
    shutil.copytree(chain.folder, tmp_path / "home")
    with opened(tmp_path / "home") as copy:
        yield copy


# --- the months -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("month", MONTHS)
def test_every_month_is_green_with_all_its_checks(chain: Chain, month: str) -> None:
    """Guards against a chain that stops half-way, or whose checks silently do not run."""
    result = chain.results[month]
    assert result.success, [failure(result, str(e.step_key)) for e in result.filter_events(lambda e: e.is_step_failure)]
    assert tuple(materialised(result)) == CHAIN
    found = {
        (e.asset_key.to_user_string(), e.check_name, e.partition): e.passed
        for e in result.get_asset_check_evaluations()
    }
    assert found.keys() == {
        (check.asset, check.name, month) for check in all_checks(systems=[XGBOOST_V1]) if check.asset in CHAIN
    }
    warned = [name for (_, name, _), passed in found.items() if not passed]
    assert not {check.name for check in all_checks() if check.blocking} & set(warned)


def test_a_month_without_samples_is_green_and_publishes_nothing(chain: Chain) -> None:
    """Guards against an October that fails the backfill, or publishes a model of nothing."""
    events = materialised(chain.results["2021-10"])
    for asset in ("xgboost_model", "model_metadata", "gcs_artifact"):
        assert str(events[asset].metadata["note"].value).startswith("no ")
    assert "model_id" not in events["gcs_artifact"].metadata
    with opened(chain.folder) as home:
        assert [model_id[:29] for model_id in list_published(home.artifacts)] == [
            "xgboost_v1_33features_202111_",
            "xgboost_v1_33features_202112_",
        ]


def test_what_is_published_can_be_trusted_and_loaded(chain: Chain) -> None:
    """Guards against a bundle that the prediction worker would refuse, or that predicts otherwise there."""
    with opened(chain.folder) as home:

        def read(name: str) -> bytes | None:
            found = home.artifacts.read(name)
            return found.data if found else None

        for month in MONTHS[1:]:
            [model_id] = [each for each in list_published(home.artifacts) if month.replace("-", "") in each]
            bundle = verify_bundle(read, f"xgboost_v1/{model_id}_manifest.json")
            assert len(bundle.rows) == 20
            assert bundle.record["newest_month"] == month
            assert materialised(chain.results[month])["gcs_artifact"].metadata["model_id"].value == model_id


def test_the_published_verdict_names_every_blocking_check(chain: Chain) -> None:
    """Guards against a manifest that vouches for less than it was gated by: every snapshot and the model."""
    with opened(chain.folder) as home:
        artifact = home.months.load(STORED["gcs_artifact"], LAST)
    verdict = getattr(artifact, "verdict", None)
    assert verdict is not None
    blocking = [(check.asset, check.name) for check in all_checks(systems=[XGBOOST_V1]) if check.blocking]
    with_samples = {"feature_store_snapshot": MONTHS[1:]}
    expected = {(asset, name, month) for asset, name in blocking for month in with_samples.get(asset, (LAST,))}
    assert {(check.asset, check.check, check.month) for check in verdict.checks} == expected
    assert all(check.passed for check in verdict.checks)


# Charts in the UI, sensors and dashboards read these keys: adding one is free, renaming one is not.
METADATA_KEYS = {
    "player_game_summary": {"rows", "dagster/partition_row_count", "games", "players", "dates"},
    "ml_feature_store_v2": {"rows", "dagster/partition_row_count", "mean_quality", "early_season_rows"},
    "feature_store_snapshot": {
        "rows",
        "dagster/partition_row_count",
        "coverage",
        "early_season",
        "without_result",
        "rejected",
        "played",
        "digest",
        "dagster/uri",
    },
    "train_split": {
        "rows",
        "months",
        "train_rows",
        "early_stopping_rows",
        "validation_rows",
        "train_from",
        "early_stopping_from",
        "validation_from",
        "sides",
    },
    "xgboost_model": {
        "rows",
        "fit_seconds",
        "validation_mae",
        "validation_mae_low",
        "validation_mae_high",
        "validation_bias",
        "train_mae",
        "season_mae",
        "gain_over_season",
        "best_iteration",
        "model_sha256",
        "comparison",
        "importance",
        "tiers",
        "residuals",
        "interval",
        "largest_misses",
        "card",
    },
    "model_metadata": {"model_id", "rows", "players", "validation_mae", "card", "record"},
    "gcs_artifact": {
        "model_id",
        "newly_published",
        "bytes",
        "blocking_checks_passed",
        "folder",
        "files",
    },
}


@pytest.mark.parametrize("month", MONTHS[1:])
def test_metadata_keys_are_stable(chain: Chain, month: str) -> None:
    """Guards against a chart over months that ends because a key was renamed."""
    events = materialised(chain.results[month])
    assert set(events) == set(METADATA_KEYS)
    for asset, keys in METADATA_KEYS.items():
        assert keys | {INPUTS} <= set(events[asset].metadata), asset
        texts = {name: str(value.value) for name, value in events[asset].metadata.items()}
        shown = {name: text for name, text in texts.items() if "![" in text or "|---" in text}
        assert [name for name, text in shown.items() if len(text) >= SHOWN_INLINE] == [], "shown only after a click"


def test_metadata_says_what_is_stored(chain: Chain) -> None:
    """Guards against a number in the UI that is not the one of the value: rows, digests, scores."""
    events = materialised(chain.results[LAST])
    with opened(chain.folder) as home:
        values = {asset: home.months.load(STORED[asset], LAST) for asset in CHAIN}
    for asset, value in values.items():
        assert value is not None
        assert (events[asset].tags or {})["dagster/data_version"] == value.digest, asset
    snapshot = events["feature_store_snapshot"].metadata
    assert (snapshot["rows"].value, snapshot["rejected"].value, snapshot["coverage"].value) == (4391, 0, 1.0)
    model, record = events["xgboost_model"].metadata, events["model_metadata"].metadata
    assert model["validation_mae"].value == record["validation_mae"].value
    assert model["rows"].value == events["train_split"].metadata["rows"].value == record["rows"].value == 9053
    published = events["gcs_artifact"].metadata["files"]
    assert isinstance(published, dg.TableMetadataValue)
    files = {str(file.data["file"]): str(file.data["sha256"]) for file in published.records}
    assert list(files) == ["booster", "metadata", "manifest", "model_card.html", "model_card.md", "provenance.json"]
    assert files["booster"].replace(" ", "") == whole(model["model_sha256"])


# --- again ----------------------------------------------------------------------------------------------------


def test_materialising_again_changes_nothing(chain: Chain, home: Home) -> None:
    """Guards against a month that looks new every time: same data versions, same inputs, nothing published anew."""
    published = home.files()
    again = home.run(LAST)
    assert again.success
    assert data_versions(again) == data_versions(chain.results[LAST])
    for asset, event in materialised(again).items():
        assert event.metadata[INPUTS] == materialised(chain.results[LAST])[asset].metadata[INPUTS]
    assert materialised(again)["gcs_artifact"].metadata["newly_published"].value is False
    assert home.files() == published


def test_another_home_gives_the_same_models(chain: Chain, tmp_path: Path) -> None:
    """Guards against a path, a clock or a run id inside what is published: two machines must agree on every byte."""
    with opened(tmp_path / "elsewhere") as home:
        for month in MONTHS[:2]:
            assert data_versions(home.run(month)) == data_versions(chain.results[month])
        ours = home.files()
    with opened(chain.folder) as first:
        theirs = first.files()
    assert len(ours) == BUNDLE_FILES
    assert ours.items() <= theirs.items()


# --- what must fail -------------------------------------------------------------------------------------------


def test_a_hole_in_the_window_fails_and_names_the_month(home: Home) -> None:
    """Guards against features or a split computed around a month that was never materialised."""
    result = home.run("2022-02", ["player_game_summary", "ml_feature_store_v2"])
    assert not result.success
    features = failure(result, "ml_feature_store_v2")
    assert "MissingMonthsError" in features
    assert "player_game_summary was never materialised for 2022-01. " in features
    split = home.run("2022-01", ["train_split"])
    assert "feature_store_snapshot was never materialised for 2022-01." in failure(split, "train_split")


def test_a_refused_snapshot_leaves_the_old_one(home: Home) -> None:
    """Guards against a broken feature run destroying the good month: rows kept beside it, bytes untouched."""
    stored = home.months.load(STORED["ml_feature_store_v2"], LAST)
    assert isinstance(stored, DigestedTable)
    field = stored.table.schema.field("feature_version")
    versions = pa.array(["v1_25features"] * stored.table.num_rows)
    broken = stored.table.set_column(stored.table.schema.get_field_index(field.name), field, versions)
    home.months.save(STORED["ml_feature_store_v2"], LAST, DigestedTable(broken, "broken"))
    names = home.months.objects.names("feature_store_snapshot/")
    before = {name: home.months.objects.read(name) for name in names}

    result = home.run(LAST, ["feature_store_snapshot", "train_split"])

    assert not result.success
    assert materialised(result) == {}
    message = failure(result, "feature_store_snapshot")
    assert "SnapshotRejectedError" in message
    assert f"{LAST}: 4,398 of 4,398 feature rows (100.0%) break the contract" in message
    assert f"feature version is not {V2_33FEATURES.name} (4,398)" in message
    assert {name: home.months.objects.read(name) for name in names} == before
    assert f"feature_store_snapshot/{LAST}.refused.parquet" in home.months.objects.names("feature_store_snapshot/")


def test_a_model_that_failed_is_refused_by_the_publisher_in_its_own_run(home: Home) -> None:
    """Guards against a bad model that is published before anybody looked at it; its record is made all the same."""
    published = home.files()
    result = home.run(LAST, config=BADLY)
    assert {"xgboost_model", "model_metadata"} <= set(materialised(result))
    assert f"validation_mae on xgboost_model of {LAST} (Validation MAE: " in refusal(home, result)
    facts = materialised(result)["gcs_artifact"].metadata
    table = facts["refused_by"]
    assert isinstance(table, dg.TableMetadataValue)
    row = {str(record.data["check"]): record.data for record in table.records}["validation_mae"]
    assert " points (95% " in str(row["value"])
    assert row["required"] == f"validation MAE at most {LENIENT.max_validation_mae} points"
    assert row["rows"]
    assert "(/assets/xgboost_model?view=checks&checkDetail=validation_mae)" in str(facts["checks"].value)
    [check] = [e for e in result.get_asset_check_evaluations() if e.check_name == PUBLISHED]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert home.files() == published


def test_a_check_that_stops_the_run_lets_nothing_be_made_of_it(home: Home) -> None:
    """Guards against a model trained on a month of which the checks said that it means nothing."""
    snapshot = home.months.load(STORED["feature_store_snapshot"], LAST)
    assert isinstance(snapshot, Snapshot)
    home.months.save(STORED["feature_store_snapshot"], LAST, replace(snapshot, table=_twice(snapshot.table)))
    result = home.run_checks(LAST, "feature_store_snapshot")
    assert not result.success
    assert "contract" in failure(result, "feature_store_snapshot_checks")


def _twice(table: pa.Table) -> pa.Table:
    """A snapshot's rows with some that count twice."""
    return pa.concat_tables([table, table.slice(0, 50)]).sort_by("game_date")


@pytest.mark.parametrize("asset", sorted({check.asset for check in all_checks() if check.asset in CHAIN}))
def test_the_next_asset_waits_for_the_checks(chain: Chain, asset: str) -> None:
    """Guards against a publisher that looks before the checks have spoken: then it would refuse a good model."""
    steps = [event.step_key for event in chain.results[LAST].filter_events(lambda e: e.is_step_start)]
    later = [step for step in CHAIN[CHAIN.index(asset) + 1 :] if step in steps]
    assert all(steps.index(f"{asset}_checks") < steps.index(step) for step in later)


def test_the_shipped_limits_refuse_the_first_months_in_words(chain: Chain, tmp_path: Path) -> None:
    """Guards the platform's owner: a model that loses to an average does not ship, and he sees why."""
    shutil.copytree(chain.folder, tmp_path / "home")
    with opened(tmp_path / "home", Thresholds()) as home:
        published = home.files()
        result = home.run(LAST)
        assert f"beats_season_average on xgboost_model of {LAST}" in refusal(home, result)
        assert home.files() == published


# --- overrides ------------------------------------------------------------------------------------------------


def test_one_named_check_can_be_overridden_with_a_reason(home: Home) -> None:
    """Guards against an override that nobody can read afterwards, and against one that opens more than it names."""
    home.run(LAST, config=BADLY)
    refused_again = refusal(home, home.run(LAST, ["gcs_artifact"]))
    failed = [
        f"{c.asset}.{c.name}"
        for c in all_checks(LENIENT)
        if c.blocking and c.asset == "xgboost_model" and f"{c.name} on" in refused_again
    ]
    assert "xgboost_model.validation_mae" in failed
    reasons = dict.fromkeys(failed, "A drill: this model is published to be looked at.")
    for left_out in failed:
        some = {check: reason for check, reason in reasons.items() if check != left_out}
        assert refusal(home, home.run(LAST, ["gcs_artifact"], overrides=some)).startswith(left_out.partition(".")[2])
    result = home.run(LAST, ["gcs_artifact"], overrides=reasons)
    assert result.success
    facts = materialised(result)["gcs_artifact"].metadata
    assert facts["overridden"].value == ", ".join(failed)
    manifest = json.loads(home.files()[f"xgboost_v1/{facts['model_id'].value}_manifest.json"])
    assert {each["check"]: each["reason"] for each in manifest["verdict"]["overrides"]} == reasons
    assert manifest["verdict"]["thresholds"] == LENIENT.changed()

    def read(name: str) -> bytes | None:
        return home.files().get(name)

    assert len(verify_bundle(read, f"xgboost_v1/{facts['model_id'].value}_manifest.json").rows) == 20


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("xgboost_model.validation_mea", "It is only a slip of the pen."),
        ("*", "Everything, please, for the demo."),
        ("feature_store_snapshot.contract", "A few rows will not matter."),  # it stops the run
    ],
)
def test_an_override_that_names_nothing_starts_no_run(home: Home, check: str, reason: str) -> None:
    """Guards against a global switch through the back door, and a slip of the pen that turns a month red."""
    published, runs = home.files(), home.instance.get_runs_count()
    with pytest.raises(dg.DagsterInvalidConfigError, match="not in enum type OverridableCheck"):
        home.run(LAST, ["gcs_artifact"], overrides={check: reason})
    assert (home.files(), home.instance.get_runs_count()) == (published, runs)


def test_an_override_that_gives_no_reason_is_refused(home: Home) -> None:
    """Guards against a manifest that says 'ok'."""
    published = home.files()
    refusal(home, home.run(LAST, config=BADLY))
    result = home.run(LAST, ["gcs_artifact"], overrides={"xgboost_model.validation_mae": "ok"})
    assert failure(result, "gcs_artifact").startswith("OverrideError: ")
    assert "shorter than 10 characters" in failure(result, "gcs_artifact")
    assert home.files() == published


def test_a_check_that_has_not_run_cannot_be_overridden(home: Home) -> None:
    """Guards against publishing what nobody looked at: an override accepts a finding, not the lack of one."""
    assert home.run(LAST, ["xgboost_model"], config={**QUICKLY, "learning_rate": 0.16}, checks=False).success
    assert home.run(LAST, ["model_metadata"]).success
    result = home.run(LAST, ["gcs_artifact"], overrides={"xgboost_model.validation_mae": "It looks quite all right."})
    assert "OverrideError" in failure(result, "gcs_artifact")
    assert "it has not run" in failure(result, "gcs_artifact")


def test_a_pass_under_other_limits_is_no_pass(chain: Chain, tmp_path: Path) -> None:
    """Guards against limits that are loosened for the checks and tightened again for the publisher."""
    shutil.copytree(chain.folder, tmp_path / "home")
    tighter = LENIENT.model_copy(update={"max_validation_mae": 4.99})
    with opened(tmp_path / "home", tighter) as home:
        message = refusal(home, home.run(LAST, ["gcs_artifact"]))
        assert f"validation_mae on xgboost_model of {LAST} (it has not run" in message
        assert home.run_checks(LAST, "xgboost_model").success
        published = home.run(LAST, ["gcs_artifact"])
        assert materialised(published)["gcs_artifact"].metadata[MODEL_ID].value


# --- the publisher alone --------------------------------------------------------------------------------------


def _failed_check(home: Home) -> str:
    home.run(LAST, ["xgboost_model"], config=BADLY)
    assert home.run(LAST, ["model_metadata"]).success
    return f"validation_mae on xgboost_model of {LAST} (Validation MAE: "


def _never_checked_model(home: Home) -> str:
    assert home.run(
        LAST, ["xgboost_model", "model_metadata"], config={**QUICKLY, "learning_rate": 0.16}, checks=False
    ).success
    return f"loads_in_fresh_process on model_metadata of {LAST} (it has not run"


def _checked_before_the_last_materialisation(home: Home) -> str:
    assert home.run("2021-11", ["feature_store_snapshot"], checks=False).success
    return "contract on feature_store_snapshot of 2021-11 (it has not run"


def _checked_other_bytes(home: Home) -> str:
    """The split was made again from other rows, and checked; the model still stands on the old one."""
    snapshot = home.months.load(STORED["feature_store_snapshot"], "2021-10")
    november = home.months.load(STORED["feature_store_snapshot"], "2021-11")
    assert snapshot is not None
    assert november is not None
    home.months.save(STORED["feature_store_snapshot"], "2021-11", snapshot)
    assert home.run(LAST, ["train_split"]).success
    home.months.save(STORED["feature_store_snapshot"], "2021-11", november)
    return f"dates_disjoint_and_ordered on train_split of {LAST} (it has not run"


def _rewritten_snapshot(home: Home) -> str:
    """A job rewrote a snapshot, with a digest of the new rows: nothing that is read of it is wrong in itself."""
    november = home.months.load(STORED["feature_store_snapshot"], "2021-11")
    assert isinstance(november, Snapshot)
    rows = _twice(november.table)
    home.months.save(
        STORED["feature_store_snapshot"], "2021-11", replace(november, table=rows, digest=table_digest(rows))
    )
    assert home.run(LAST, ["train_split", "xgboost_model", "model_metadata"]).success
    return "contract on feature_store_snapshot of 2021-11 (it has not run"


@pytest.mark.parametrize(
    "spoil",
    [
        _failed_check,
        _never_checked_model,
        _checked_before_the_last_materialisation,
        _checked_other_bytes,
        _rewritten_snapshot,
    ],
)
def test_the_publisher_alone_is_refused_without_a_fresh_pass_of_every_check(
    home: Home, spoil: Callable[[Home], str]
) -> None:
    """Guards against a later run of `gcs_artifact` alone, which Dagster's own blocking does not reach."""
    unpassed = spoil(home)
    published = home.files()
    assert unpassed in refusal(home, home.run(LAST, ["gcs_artifact"]))
    assert home.files() == published


DROPPED = {"feature_store_snapshot": "unique_keys", "model_metadata": "valid_schema"}
"""Asset -> a check that it had in an earlier version."""


def test_a_failure_of_a_dropped_check_stops_nothing(home: Home) -> None:
    """Guards an older home: a check that no longer exists cannot be run again, so its failure would last."""
    for asset, check in DROPPED.items():
        [latest] = home.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[LAST]), limit=1
        ).records
        home.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                dg.AssetKey(asset),
                check,
                passed=False,
                blocking=True,
                partition=LAST,
                target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                    storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp
                ),
            )
        )
    shutil.rmtree(home.settings.artifact_root)
    assert home.run(LAST, ["gcs_artifact"]).success
    assert len(home.files()) == BUNDLE_FILES
    with open_session(home.settings) as backfill:
        assert backfill.planner.out_of_date(LAST, ["feature_store_snapshot"]) == ()
        assert backfill.planner.unjudged([LAST], DROPPED) == {}
        assert check_month(backfill, LAST).of(CheckStatus.ERROR) == ()


def test_a_verdict_that_names_dropped_checks_is_read_and_verified(home: Home) -> None:
    """Guards models published by earlier versions: their manifests name checks that no longer exist."""
    artifact = home.months.load(STORED["gcs_artifact"], LAST)
    described = home.months.load(STORED["model_metadata"], LAST)
    assert isinstance(artifact, Artifact)
    assert artifact.verdict is not None
    assert isinstance(described, DescribedModel)
    assert described.record is not None
    assert described.booster is not None
    older = [
        CheckVerdict(asset=asset, check=check, month=LAST, passed=True, subject="0" * 64)
        for asset, check in DROPPED.items()
    ]
    verdict = artifact.verdict.model_copy(update={"checks": (*artifact.verdict.checks, *older)})
    root = open_objects(str(home.settings.home / "older"))
    done = publish(root, Bundle(described.record.model_id, described.booster, described.record.to_bytes(), verdict))
    verify_bundle(reads_from(root), done.manifest.name, manifest_sha256=done.manifest.sha256)
    home.months.save(STORED["gcs_artifact"], LAST, artifact.model_copy(update={"verdict": verdict}))
    loaded = home.months.load(STORED["gcs_artifact"], LAST)
    assert isinstance(loaded, Artifact)
    assert loaded.verdict == verdict


def test_the_publisher_alone_passes_once_every_check_has_passed(home: Home) -> None:
    """Guards against a gate that nobody can open: the checks alone are run again, then the publisher alone."""
    published = home.files()
    shutil.rmtree(home.settings.artifact_root)
    _checked_before_the_last_materialisation(home)
    assert refusal(home, home.run(LAST, ["gcs_artifact"]))
    assert home.files() == {}
    assert home.run_checks("2021-11", "feature_store_snapshot").success
    result = home.run(LAST, ["gcs_artifact"])
    assert result.success
    assert materialised(result)["gcs_artifact"].metadata["newly_published"].value is True
    assert len(home.files()) == BUNDLE_FILES
    assert home.files().items() <= published.items()
