"""All 36 real months, lines and all, under the shipped limits: what no limit may refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.checks.check import CheckContext
from nba_ml.checks.registry import all_checks
from nba_ml.contract.digest import HasDigest
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.split import split_by_date
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.conftest import COMPUTED_AT, FIRST_MONTH, summary_of

pytestmark = pytest.mark.slow

RELEASED = Path(__file__).parents[1] / "released/snapshots.json"
"""Digests of the snapshots of the shipped months, written by commit b329b53."""

MONTHS = season_months(FIRST_MONTH, "2025-06")
LINES_BEGAN = {"2024-11", "2024-12", "2025-01"}
"""The embedded data has lines in these months of its last season only."""


def taken_with(system: System) -> dict[str, Snapshot]:
    source = EmbeddedFeatureSource(data=str(SAMPLE_DATA))
    history = pa.concat_tables([summary_of(month) for month in MONTHS])
    lines = pa.concat_tables([source.prop_lines(month) for month in MONTHS])
    first, last = month_bounds(MONTHS[0])[0], month_bounds(MONTHS[-1])[1]
    version = system.features
    features = compute_features(history, lines, first, last, computed_at=COMPUTED_AT, version=version)
    taken = {}
    for month in MONTHS:
        first, last = (pa.scalar(day) for day in month_bounds(month))
        day = features.column("game_date")
        rows = features.filter(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)))
        taken[month] = take_snapshot(MonthRows.of_tables(rows, summary_of(month), version), month, version)
    return taken


@pytest.fixture(scope="module")
def snapshots() -> dict[str, Snapshot]:
    return taken_with(XGBOOST_V1)


@pytest.fixture(scope="module")
def followed() -> dict[str, Snapshot]:
    """The snapshots of the second system, which follows players across seasons."""
    return taken_with(XGBOOST_V2)


def failed(
    asset: str, month: str, value: HasDigest, snapshots: dict[str, Snapshot], system: System = XGBOOST_V1
) -> set[str]:
    """Names of the checks of a value that fail."""

    def nothing_published() -> ObjectStore:
        raise AssertionError("these assets come before publication")

    limits = Thresholds()
    scene = CheckContext(
        month=month,
        limits=limits,
        months=[each for each in MONTHS if each <= month],
        load=lambda asset, at: snapshots[at] if asset == "feature_store_snapshot" else None,
        results=lambda at: snapshots[at].results,
        artifacts=nothing_published,
        system=system,
    )
    checks = [check for check in all_checks(limits, [system]) if check.asset == system.asset(asset)]
    assert checks
    return {check.name for check in checks if not check.examine(value, scene).passed}


def test_every_real_month_passes_and_warns_only_where_lines_began(snapshots: dict[str, Snapshot]) -> None:
    """Guards against a limit that refuses real games: a June of five dates, a first season, a month of lines."""
    found = {month: failed("feature_store_snapshot", month, snapshots[month], snapshots) for month in MONTHS}
    assert {month: names for month, names in found.items() if names} == {month: {"drift"} for month in LINES_BEGAN}


@pytest.mark.slow  # a second set of features for all months
def test_every_real_month_of_the_second_system_only_warns(followed: dict[str, Snapshot]) -> None:
    """Guards against a leak check of its features that cries wolf: a round of the playoffs, a season's first week."""
    found = {m: failed("feature_store_snapshot", m, followed[m], followed, XGBOOST_V2) for m in MONTHS}
    assert {month: names for month, names in found.items() if names - {"drift"}} == {}


def test_every_real_split_passes_and_warns_only_while_it_is_small(snapshots: dict[str, Snapshot]) -> None:
    """Guards against a limit that refuses the first months of a backfill for the few dates they have."""
    dates = {month: (each.digest, each.table["game_date"].to_numpy()) for month, each in snapshots.items()}
    found = {}
    for month in MONTHS:
        split = split_by_date({each: dates[each] for each in MONTHS if each <= month})
        found[month] = failed("train_split", month, split, snapshots)
    assert {month: names for month, names in found.items() if names} == {
        "2021-11": {"few_rows"},
        "2021-12": {"few_rows"},
    }


def test_the_snapshots_have_the_digests_of_earlier_versions(snapshots: dict[str, Snapshot]) -> None:
    """Guards against a change of features that nobody intended: every model id would change.

    Three months changed on purpose, when lines were matched by id (CHANGELOG.md).
    """
    released = json.loads(RELEASED.read_text())
    found = {month: snapshots[month].digest for month in MONTHS if snapshots[month].digest != released[month]}
    changed = {month: digest[:12] for month, digest in found.items()}
    assert changed == {"2024-11": "780e5c22c34e", "2024-12": "3df91adcb117", "2025-01": "7d395aba6f03"}
