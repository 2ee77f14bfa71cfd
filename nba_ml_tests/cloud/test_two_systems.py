"""Both systems where the feature store is BigQuery: the second one's features computed there, then both to a slate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.contract.season import month_bounds
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.tables import PROP_LINES
from nba_ml.defs.assets.recording import INPUTS
from nba_ml.defs.resources import open_store
from nba_ml.evaluation.grades import GradedMonth
from nba_ml.registry.publication import list_published
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.cli.command import Home
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.cloud.feature_tables import make_backfill
from nba_ml_tests.conftest import COMPUTED_AT, features_of, snapshot_of, summary_of
from nba_ml_tests.trained_home import TrainedHomes

MONTHS = ("2021-10", "2021-11")
LAST, DAY = MONTHS[-1], "2021-11-24"
TONIGHT = "2021-12-01"
"""A date whose games are still to be played: there are features of the first version, and no results."""

EVERY = f"{XGBOOST_V1.id},{XGBOOST_V2.id}"
PRICES = (1.9, 2.0)


@dataclass(frozen=True)
class Deployment:
    """The platform's rows of the first version, box scores and lines with prices; and a home that works on them."""

    platform: Platform
    home: Home
    summary: pa.Table
    lines: pa.Table

    def said(self, *arguments: str, code: int = 0) -> str:
        ended = self.home.run_here(*arguments)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def second_features(self, month: str) -> pa.Table:
        """The second system's features from the same box scores and lines, computed by the embedded source."""
        days = month_bounds(month)
        return compute_features(self.summary, self.lines, *days, computed_at=COMPUTED_AT, version=V3_FEATURES)

    def embedded(self, month: str) -> Snapshot:
        """The second system's snapshot of these."""
        rows = self.second_features(month)
        return take_snapshot(MonthRows.of_tables(rows, summary_of(month), V3_FEATURES), month, V3_FEATURES)

    def inputs(self, asset: str) -> str:
        """The digest of the inputs of the last month's latest materialisation."""
        with self.home.instance() as instance:
            [record] = instance.fetch_materializations(dg.AssetKey.from_user_string(asset), limit=1).records
        assert record.asset_materialization is not None
        return str(record.asset_materialization.metadata[INPUTS].value)


@pytest.fixture(scope="module")
def deployment(bigquery_emulator: BigQueryEmulator, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    platform = make_platform(bigquery_emulator)
    summary = pa.concat_tables([summary_of(month) for month in MONTHS])
    players = summary_of(LAST).select(["universal_player_id", "player_lookup", "game_date"]).to_pylist()
    of_day = [row for row in players if row["game_date"].isoformat() == DAY]
    listed = [{**row, "book": "a", "line": 8.5 + number % 5} for number, row in enumerate(of_day)]
    lines = pa.Table.from_pylist(listed, PROP_LINES)
    tables = make_backfill(platform, summary, lines)
    priced = f"{platform.dataset}.lines"
    platform.sql(f"CREATE TABLE {priced} AS SELECT *, {PRICES[0]} AS over_price, {PRICES[1]} AS under_price "
                 f"FROM {tables.lines_table} WHERE game_date >= '{MONTHS[0]}-01'")  # fmt: skip
    for month in MONTHS:
        platform.load(features_of(month))
    settings = {
        **platform.environment,
        "NBA_ML_SUMMARY_TABLE": tables.summary_table,
        "NBA_ML_LINES_TABLE": priced,
        "NBA_ML_SYSTEMS": EVERY,
        "NBA_ML_DATA": "/nowhere",  # nothing of the embedded source may be needed
    }
    home = Home(tmp_path_factory.mktemp("two systems") / "home", settings=settings)
    return Deployment(platform, home, summary, lines)


def test_from_box_scores_in_bigquery_to_a_slate_of_the_second_system(
    deployment: Deployment, trained_homes: TrainedHomes, tmp_path: Path
) -> None:
    """Guards the second system's whole chain there: what its month says without features, and that its snapshots are
    the embedded ones, the first system's models those of the embedded source, both in one channel and one slate, and
    grades that follow the prices in the table of lines."""
    said = deployment.said
    alone = said("backfill", "--to", LAST, code=1)
    assert "--version v3_41features --from 2021-10" in alone, "the command that computes what is missing"
    models = deployment.home.root / "artifacts"
    first = [model for model in list_published(DirectoryStore(models)) if "_202111_" in model]
    embedded = list_published(DirectoryStore(trained_homes.published.root / "artifacts"))
    assert first == [model for model in embedded if "_202111_" in model], "the same rows give the same model"

    # October's are loaded: a month takes the emulator a third of a minute, whatever it computes.
    deployment.platform.load(deployment.second_features(MONTHS[0]))
    said("features", "--to-bigquery", "--version", V3_FEATURES.name, "--from", LAST)
    shown = json.loads(said("progress", "--system", XGBOOST_V2.id, "--json"))["months"]
    assert [each["status"] for each in shown[:2]] == ["complete", "complete"]
    made = said("backfill", "--to", LAST, "--only-missing")
    assert "2 already up to date" in made, "the first system's months are as they were"
    store = open_store(str(deployment.home.root / "store"))
    for system, expected in ((XGBOOST_V1, snapshot_of), (XGBOOST_V2, deployment.embedded)):
        found = store.require(STORED[system.asset("feature_store_snapshot")], MONTHS)
        assert {m: value.digest for m, value in found.items()} == {m: expected(m).digest for m in MONTHS}, system.id
    assert "0 month(s) run" in said("backfill", "--to", LAST, "--only-missing", "--system", XGBOOST_V2.id)

    graded = store.require(STORED["xgboost_v2/prediction_grades"], [LAST])[LAST]
    assert isinstance(graded, GradedMonth)
    with_price = [tuple(row.values()) for row in graded.table.select(["over_price", "under_price"]).to_pylist()]
    assert with_price.count(PRICES) == graded.report.market.prices.model.n > 100  # type: ignore[union-attr]

    published = list_published(DirectoryStore(models), XGBOOST_V2)
    second = max(model for model in published if "_202111_" in model)
    said("champion", "promote", second)
    beside = ("--share", "10", "--waive", "comparison", "--reason", "The first system on a tenth.")
    said("rollout", "start", first[0], *beside)
    slate = tmp_path / "slate.parquet"
    of_tonight = pc.equal(features_of(TONIGHT[:7])["game_date"], pa.scalar(date.fromisoformat(TONIGHT), pa.date32()))
    deployment.platform.load(features_of(TONIGHT[:7]).filter(of_tonight))
    refused = said("slate", "predict", "--date", TONIGHT, code=2)
    assert f"--version {V3_FEATURES.name} --date {TONIGHT}`" in refused, "the command that computes what is missing"
    said("features", "--to-bigquery", "--version", V3_FEATURES.name, "--date", TONIGHT)
    said("slate", "predict", "--date", TONIGHT, "--out", str(slate))
    served = [row for row in pq.read_table(slate).to_pylist() if row["role"] == "served"]
    assert len(served) == pc.sum(of_tonight).as_py() > 100
    assert {(row["model_version"], row["feature_version"]) for row in served} == {
        (first[0], V2_33FEATURES.name),
        (second, V3_FEATURES.name),
    }

    graded_with = deployment.inputs("xgboost_v2/prediction_grades")
    table = deployment.home.settings["NBA_ML_LINES_TABLE"]
    deployment.platform.sql(f"UPDATE {table} SET over_price = 1.8 WHERE game_date = '{DAY}'")
    again = said("backfill", "--from", LAST, "--to", LAST, "--only-missing", "--system", XGBOOST_V2.id)
    anew = f"{LAST}: xgboost_v2/predictions, xgboost_v2/prediction_grades\n"
    assert anew in again, "a price that was corrected decides on bets and on what they return, and on nothing else"
    assert deployment.inputs("xgboost_v2/prediction_grades") != graded_with
