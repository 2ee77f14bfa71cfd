"""The code location: what it holds, by key, and what may import what."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from nba_ml.checks.check import Consequence
from nba_ml.checks.registry import OVERRIDABLE, all_checks
from nba_ml.contract.assets import MONTHLY_ASSETS, ON_REQUEST
from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import SHARED_ASSETS, XGBOOST_V1, XGBOOST_V2
from nba_ml.data.features.lineage import BOX_SCORE_COLUMNS
from nba_ml.data.tables import ML_FEATURE_STORE_V2, PLAYER_GAME_SUMMARY, snapshot_schema
from nba_ml.defs.assets.gcs_artifact import OverrideConfig, PublicationConfig
from nba_ml.defs.assets.recording import feature_lineage
from nba_ml.defs.build import build_defs
from nba_ml.defs.resources import Compute
from nba_ml.settings import Settings
from nba_ml.sources.month_rows import FEATURES, SUMMARY

ONE_SYSTEM = {"NBA_ML_SYSTEMS": XGBOOST_V1.id}

# One line each, in order: a new asset, check or job is added here on purpose, never in passing.
DEPENDENCIES = {
    "player_game_summary": set(),
    "ml_feature_store_v2": {"player_game_summary"},
    "backfill_progress": {"ml_feature_store_v2", "player_game_summary"},
    "feature_store_snapshot": {"ml_feature_store_v2", "player_game_summary"},
    "train_split": {"feature_store_snapshot"},
    "xgboost_model": {"feature_store_snapshot", "train_split"},
    "model_metadata": {"xgboost_model"},
    "gcs_artifact": {"model_metadata"},
    "predictions": {"feature_store_snapshot", "xgboost_model"},
    "prediction_grades": {"feature_store_snapshot", "predictions"},
    "challengers": {"feature_store_snapshot", "train_split", "xgboost_model"},
    "walk_forward": {"prediction_grades"},
    "champion": {"feature_store_snapshot", "gcs_artifact"},
    "rollout": {"champion", "feature_store_snapshot"},
    "slate_predictions": {"champion", "ml_feature_store_v2"},
    "slate_grades": {"feature_store_snapshot", "slate_predictions"},
}
NO_MONTHS = ("backfill_progress", "walk_forward", "champion", "rollout")
"""What speaks of all months at once."""

SLATES = ("slate_predictions", "slate_grades")
"""What is made of dates, and of months that have slates: no backfill makes it."""

CHECKS = """
champion.champion_not_too_old: tells people
champion.no_month_left_failed: tells people
champion.retraining_ran: tells people
champion.slates_made: tells people
feature_store_snapshot.contract: stops the run
feature_store_snapshot.coverage: stops the run
feature_store_snapshot.coverage_complete: warns
feature_store_snapshot.drift: warns
feature_store_snapshot.last_10_recomputes: stops the run
feature_store_snapshot.last_5_correlation: stops the run
feature_store_snapshot.last_5_recomputes: stops the run
feature_store_snapshot.line_error: stops the run
feature_store_snapshot.lines_matched: stops the run
feature_store_snapshot.lines_matched_complete: warns
feature_store_snapshot.no_constant_column: stops the run
feature_store_snapshot.season_average_recomputes: stops the run
gcs_artifact.loads_from_its_uri: fails CI
gcs_artifact.published: fails CI
model_metadata.loads_in_fresh_process: stops the run
prediction_grades.bias_against_line: warns
prediction_grades.hit_rate: warns
prediction_grades.interval_coverage: warns
prediction_grades.interval_coverage_by_tier: warns
prediction_grades.mae_as_promised: warns
prediction_grades.market_claim: warns
predictions.feature_drift: warns
predictions.prediction_drift: warns
slate_predictions.few_set_aside: warns
slate_predictions.somebody_predicted: stops the run
train_split.dates_disjoint_and_ordered: stops the run
train_split.few_rows: warns
train_split.min_rows: stops the run
train_split.shares: stops the run
train_split.window_without_holes: stops the run
xgboost_model.beats_last_10_average: blocks publication
xgboost_model.beats_mock: blocks publication
xgboost_model.beats_season_average: blocks publication
xgboost_model.bias: warns
xgboost_model.interval_coverage: warns
xgboost_model.not_too_good: blocks publication
xgboost_model.predictions_in_range: stops the run
xgboost_model.refit_agrees: blocks publication
xgboost_model.results_above_prediction: blocks publication
xgboost_model.tier_bias: warns
xgboost_model.tier_coverage: warns
xgboost_model.train_gap: warns
xgboost_model.validation_mae: blocks publication
xgboost_model.validation_mae_good: warns
"""
JOBS = [
    *(
        "monthly_chain",
        "monthly_chain_and_grades",
        "monthly_snapshot",
        "monthly_model",
        "monthly_retraining",
        "release",
        "standing_checks",
    ),
    *("slate", "slate_grading"),
]
RESOURCES = [
    *(
        "artifact_root",
        "compute",
        "feature_source",
        "io_manager",
        "line_prices",
        "month_rows",
        "prediction_table",
        "slate_rows",
    ),
    "store",
]


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The graph of the first system."""
    environ = {"NBA_ML_HOME": str(tmp_path_factory.mktemp("home")), **ONE_SYSTEM}
    return build_defs(Settings.from_environment(environ))


def test_without_settings_there_are_both_systems(defs: dg.Definitions, tmp_path: Path) -> None:
    """Guards the default of the embedded data: each asset and check of the first system's chain once more."""
    both = build_defs(Settings.from_environment({"NBA_ML_HOME": str(tmp_path)}))
    dg.Definitions.validate_loadable(both)
    own = {each for each in (*MONTHLY_ASSETS, *ON_REQUEST) if each not in SHARED_ASSETS}

    def second(asset: str) -> str:
        return XGBOOST_V2.asset(asset) if asset in own else asset

    expected = {second(asset): set(map(second, parents)) for asset, parents in DEPENDENCIES.items() if asset in own}
    for asset, parents in DEPENDENCIES.items():
        by_system = asset in ("backfill_progress", "walk_forward", "champion", "rollout")
        expected[asset] = parents | (set(map(second, parents)) if by_system else set())
    graph = both.resolve_asset_graph()
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == expected
    checks = {key.to_user_string() for key in defs.resolve_asset_graph().asset_check_keys}
    again = {f"{second(asset)}:{name}" for asset, name in (each.split(":") for each in checks)}
    of_careers = {
        "xgboost_v2/feature_store_snapshot:absences_of_last_game",
        "xgboost_v2/feature_store_snapshot:change_correlation",
    }
    assert {key.to_user_string() for key in graph.asset_check_keys} == checks | again | of_careers
    of_one = ["monthly_chain_xgboost_v1", "monthly_chain_xgboost_v2"]
    assert sorted(job.name for job in both.jobs or ()) == sorted([*JOBS, *of_one])


def test_the_definitions_load(defs: dg.Definitions) -> None:
    """Guards against a code location that imports and does not load: a resource or a partition that does not fit."""
    dg.Definitions.validate_loadable(defs)


def test_the_assets_and_their_dependencies(defs: dg.Definitions) -> None:
    """Guards against an asset that is renamed, lost or cut off: history and links hang on its key."""
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == DEPENDENCIES
    by_month = tuple(asset for asset in DEPENDENCIES if asset not in (*NO_MONTHS, *SLATES))
    assert by_month == (*MONTHLY_ASSETS, *ON_REQUEST)


def test_the_checks_and_which_of_them_block(defs: dg.Definitions) -> None:
    """Guards against a check that disappears, or no longer blocks, without anybody deciding so."""
    specs = [spec for checks in defs.asset_checks or () for spec in checks.check_specs]
    found = sorted(f"{s.asset_key.to_user_string()}.{s.name}: {s.metadata['a_failure']}" for s in specs)
    assert found == CHECKS.split("\n")[1:-1]
    assert all(spec.blocking is (spec.metadata["a_failure"] == "stops the run") for spec in specs)


def test_the_jobs_and_resources(defs: dg.Definitions) -> None:
    """Guards against a job that schedules name, or a resource that a deployment overrides, under another name."""
    assert [job.name for job in defs.jobs or ()] == JOBS
    assert sorted(defs.resources or {}) == RESOURCES


def test_every_asset_and_check_has_the_months_of_the_source(defs: dg.Definitions) -> None:
    """Guards against an asset without partitions in the middle of the chain, which would mix months."""
    graph = defs.resolve_asset_graph()
    for asset in (*MONTHLY_ASSETS, *ON_REQUEST):
        partitions = graph.get(dg.AssetKey(asset)).partitions_def
        assert partitions is not None
        assert len(partitions.get_partition_keys()) == 36
    for checks in defs.asset_checks or ():
        for spec in checks.check_specs:
            assert (spec.partitions_def is None) is (spec.asset_key.to_user_string() in NO_MONTHS), spec.name


def test_every_asset_tells_what_it_is(defs: dg.Definitions) -> None:
    """Guards against an asset that a newcomer to the UI can make nothing of."""
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name in ("feature_store", "training", "evaluation", "release")
        assert node.code_version, key
        assert node.owners, key


def test_resources_can_be_replaced_for_a_test_or_a_deployment() -> None:
    """Guards against an override that is ignored."""
    compute = Compute(threads=1)
    replaced = build_defs(Settings.from_environment({}), resource_overrides={"compute": compute})
    assert (replaced.resources or {})["compute"] is compute


def test_a_source_without_months_is_refused_where_the_graph_is_built(tmp_path: Path) -> None:
    """Guards against a code location that loads empty because NBA_ML_DATA was mistyped."""
    with pytest.raises(SourceDataError, match="Set NBA_ML_DATA to a folder"):
        build_defs(Settings.from_environment({"NBA_ML_DATA": str(tmp_path)}))


def test_with_bigquery_the_two_tables_are_external_and_the_rest_is_the_same(tmp_path: Path) -> None:
    """Guards against a graph that computes features of its own beside the platform's, and against other keys."""
    environ = {"NBA_ML_HOME": str(tmp_path), "NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "some-project"}
    defs = build_defs(Settings.from_environment(environ))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    external = {"player_game_summary", "ml_feature_store_v2"}
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == {
        **{asset: set() if asset in external else parents for asset, parents in DEPENDENCIES.items()},
        "platform_grades": {"feature_store_snapshot", "prediction_grades"},
    }
    assert {key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).is_materializable} == (
        external
    )
    assert all(graph.get(dg.AssetKey(asset)).is_observable for asset in external)
    assert [sensor.name for sensor in defs.sensors or ()] == ["follow_backfill", "notify_failures"]
    assert all(sensor.default_status == dg.DefaultSensorStatus.STOPPED for sensor in defs.sensors or ())


def test_with_bigquery_each_system_has_its_features_and_its_sensor(tmp_path: Path) -> None:
    """Guards against a second chain that has no rows to read, and against one that no observation or sensor sees."""
    environ = {
        "NBA_ML_HOME": str(tmp_path),
        "NBA_ML_SOURCE": "bigquery",
        "NBA_ML_BIGQUERY_PROJECT": "some-project",
        "NBA_ML_BIGQUERY_FEATURES": "computed",
        "NBA_ML_SYSTEMS": "xgboost_v1,xgboost_v2",
    }
    defs = build_defs(Settings.from_environment(environ))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    summary, first, second = (
        dg.AssetKey.from_user_string(name)
        for name in ("player_game_summary", "ml_feature_store_v2", "xgboost_v2/ml_feature_store_v2")
    )
    not_made_here = {key for key in graph.get_all_asset_keys() if not graph.get(key).is_materializable}
    assert not_made_here == {summary, first, second}
    assert graph.get(dg.AssetKey(["xgboost_v2", "feature_store_snapshot"])).parent_keys == {summary, second}
    assert graph.get(second).is_observable
    observed = defs.resolve_job_def("observe_feature_store").asset_layer.executable_asset_keys
    assert set(observed) == {summary, first, second}
    assert graph.get(dg.AssetKey(["xgboost_v2", "feature_backfill"])).is_materializable
    assert [sensor.name for sensor in defs.sensors or ()] == [
        *("follow_backfill", "follow_backfill_xgboost_v2", "notify_failures")
    ]


def test_with_bigquery_an_asset_may_compute_the_features(tmp_path: Path) -> None:
    environ = {
        "NBA_ML_HOME": str(tmp_path),
        "NBA_ML_SOURCE": "bigquery",
        "NBA_ML_BIGQUERY_PROJECT": "some-project",
        "NBA_ML_BIGQUERY_FEATURES": "computed",
    }
    defs = build_defs(Settings.from_environment(environ))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    asset, key = graph.get(dg.AssetKey("feature_backfill")), dg.AssetKey("feature_backfill")
    assert asset.is_materializable
    assert asset.parent_keys == {dg.AssetKey("player_game_summary")}
    jobs = [job.name for job in defs.resolve_all_job_defs() if key in job.asset_layer.executable_asset_keys]
    assert jobs == ["__ASSET_JOB"], "no job or schedule computes features unasked"


def test_every_check_begins_with_its_consequence(tmp_path: Path) -> None:
    """Guards the list of checks in the UI, where Dagster calls all but those that stop a run non-blocking.

    And against two checks that nobody can tell apart.
    """
    definitions = build_defs(Settings.from_environment({"NBA_ML_HOME": str(tmp_path), **ONE_SYSTEM}))
    specs = [spec for checks in definitions.asset_checks or () for spec in checks.check_specs]
    begins = ("Stops the run. ", "Blocks publication. ", "Fails CI. ", "Warns. ", "Notifies people. ")
    assert len(specs) > 40
    assert [spec.name for spec in specs if not (spec.description or "").startswith(begins)] == []
    descriptions = [spec.description for spec in specs]
    assert [text for text in set(descriptions) if descriptions.count(text) > 1] == []
    blocking = {check.key for check in all_checks(systems=[XGBOOST_V1]) if check.consequence is Consequence.BLOCKS}
    said = {f"{s.asset_key.to_user_string()}.{s.name}" for s in specs if (s.description or "").startswith("Blocks")}
    assert said == blocking


# --- what the UI shows of columns and code ---------------------------------------------------------------------


def test_columns_have_their_meaning_and_range(defs: dg.Definitions) -> None:
    """Guards the column schema: a feature's unit, range and nullability; keys and target are described."""
    specs = {each.key.to_user_string(): each for each in defs.resolve_all_asset_specs()}
    columns = {each.name: each for each in specs["feature_store_snapshot"].metadata["dagster/column_schema"].columns}
    for feature in V2_33FEATURES.features:
        shown = columns[feature.name]
        assert shown.constraints.nullable is feature.nullable
        limits = "0 or 1" if feature.unit == "0/1" else f"{feature.low:g} to {feature.high:g} {feature.unit}"
        assert shown.constraints.other == [limits]
        assert feature.definition[1:] in shown.description
        assert (feature.missing_when or "") in shown.description
        assert ", ".join(BOX_SCORE_COLUMNS.get(feature.name, ())) in shown.description
    for name, word in {"player_lookup": "Key", "game_date": "Key", "points": "Target"}.items():
        assert columns[name].description.startswith(word)
    predictions = {each.name: each for each in specs["predictions"].metadata["dagster/column_schema"].columns}
    assert predictions["over_probability"].constraints.nullable
    assert not predictions["predicted_points"].constraints.nullable


def test_each_asset_names_its_lines_of_code(defs: dg.Definitions) -> None:
    """Guards the link from an asset to its module: the line is that of its function, decorators included."""
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        [reference] = spec.metadata["dagster/code_references"].code_references
        lines = Path(reference.file_path).read_text().splitlines()[reference.line_number - 1 :]
        function = next(line.strip() for line in lines if line.strip().startswith("def "))
        assert function.startswith(f"def {name}("), reference


def test_the_lineage_of_a_snapshot_has_all_its_columns() -> None:
    """Guards the lineage: each source column exists in its table; another system's features are not made up."""
    schemas = {SUMMARY: PLAYER_GAME_SUMMARY.names, FEATURES: ML_FEATURE_STORE_V2.names}
    for columns in (BOX_SCORE_COLUMNS, {}):
        found = feature_lineage(V2_33FEATURES, columns, FEATURES).deps_by_column
        assert set(found) == {*snapshot_schema(V2_33FEATURES).names} - {"feature_quality_score"}
        for name, deps in found.items():
            assert deps
            assert all(each.column_name in schemas[each.asset_key.to_user_string()] for each in deps)
            of_summary = {each.column_name for each in deps if each.asset_key.to_user_string() == SUMMARY}
            assert of_summary == set(columns.get(name, () if name in V2_33FEATURES.names else (name,)))


def test_the_launchpads_example_is_valid() -> None:
    """Guards the help of `overrides`: what it shows can be launched."""
    text = PublicationConfig.model_fields["overrides"].description or ""
    [override] = PublicationConfig(**yaml.safe_load(text.partition("for example: ")[2])).overrides
    assert str(override.check) in OVERRIDABLE
    assert str(override.check) in (OverrideConfig.model_fields["check"].description or "")
