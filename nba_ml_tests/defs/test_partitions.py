"""The months as Dagster sees them, against the calendar in core."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.assets import MONTHLY_ASSETS, ON_REQUEST
from nba_ml.contract.errors import MonthError
from nba_ml.contract.season import season_months as calendar_months
from nba_ml.defs.assets.slate_predictions import days_of
from nba_ml.defs.build import build_defs
from nba_ml.defs.partitions import History, months_read, require_month, season_months
from nba_ml.settings import SAMPLE_DATA, Settings
from nba_ml.sources.embedded import source_months

EMBEDDED = source_months(SAMPLE_DATA)
MONTHS = season_months(EMBEDDED[0], EMBEDDED[-1])


def test_the_embedded_partitions_are_exactly_the_36_months() -> None:
    """Guards against a month that cannot be selected in the UI, and against one that has no games."""
    keys = list(MONTHS.get_partition_keys())
    assert keys == EMBEDDED == calendar_months("2021-10", "2025-06")
    assert len(keys) == 36


@pytest.mark.parametrize("month", ["2021-09", "2022-07", "2022-08", "2022-09", "2025-07", "2025-10"])
def test_the_off_season_and_months_without_data_are_no_partitions(month: str) -> None:
    """Guards against partitions that stay missing for ever and turn every backfill grey."""
    assert not MONTHS.has_partition_key(month)


@pytest.mark.parametrize(("month", "before"), [("2022-10", "2022-06"), ("2022-01", "2021-12"), ("2025-06", "2025-05")])
def test_the_month_before_october_is_june(month: str, before: str) -> None:
    """Guards against an October that is scored by nobody, or by a model that is looked for in September."""
    assert months_read(History.BEFORE, month, EMBEDDED) == [before]


@pytest.mark.parametrize("month", EMBEDDED)
def test_no_month_reads_the_future(month: str) -> None:
    """Guards against a window that leaves months out or reads one to come, and a model that scores its own month."""
    assert months_read(History.SO_FAR, month, EMBEDDED) == [each for each in EMBEDDED if each <= month]
    assert months_read(History.BEFORE, month, EMBEDDED) == [each for each in EMBEDDED if each < month][-1:]
    assert months_read(None, month, EMBEDDED) == [month]


def test_an_asset_depends_on_no_other_month(tmp_path: Path) -> None:
    """Guards backfills: along a dependency on earlier months Dagster goes forward to every later one.

    Three months on the lineage page were 33, and most of them failed.
    """
    graph = build_defs(Settings.from_environment({"NBA_ML_HOME": str(tmp_path)})).resolve_asset_graph()
    checked = 0
    for asset in (*MONTHLY_ASSETS, *ON_REQUEST):
        for parent in graph.get(dg.AssetKey(asset)).parent_keys:
            found = graph.get_partition_mapping(
                dg.AssetKey(asset), parent
            ).get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_subset=MONTHS.subset_with_partition_keys(["2022-03"]),
                downstream_partitions_def=MONTHS,
                upstream_partitions_def=MONTHS,
            )
            assert list(found.partitions_subset.get_partition_keys()) == ["2022-03"], (asset, parent)
            checked += 1
    assert checked > 10


@given(st.sampled_from(EMBEDDED), st.sampled_from(EMBEDDED))
def test_any_source_has_the_partitions_of_its_months(one: str, other: str) -> None:
    """Guards against a user's own data whose last month (a December, a June) is cut off."""
    first, last = sorted((one, other))
    assert list(season_months(first, last).get_partition_keys()) == calendar_months(first, last)


@pytest.mark.parametrize(("first", "last"), [("2019-10", "2022-06"), ("2020-07", "2021-07"), ("2015-10", "2020-10")])
def test_summers_that_were_played_are_partitions(first: str, last: str) -> None:
    """Guards against the Finals of 2020 and 2021 that no partition can hold."""
    months = season_months(first, last)
    assert list(months.get_partition_keys()) == calendar_months(first, last)


def test_a_source_that_grows_has_the_summers_that_were_played() -> None:
    """Guards against a list of exclusions that ends, or that a rule overrules."""
    keys = list(season_months("2019-10", None).get_partition_keys())
    assert keys == calendar_months("2019-10", keys[-1])
    assert keys[-1] >= "2026-06"


def test_a_played_summer_has_its_days() -> None:
    """Guards against a slate of the Finals of 2021 that cannot be selected."""
    days = days_of(season_months("2020-12", "2021-07"))
    assert days.has_partition_key("2021-07-20")
    assert not days_of(MONTHS).has_partition_key("2022-07-20")


def test_a_month_outside_the_source_is_refused_with_the_months_there_are() -> None:
    """Guards against a bare KeyError where somebody asks for a month that the source does not have."""
    assert require_month("2022-10", EMBEDDED) == "2022-10"
    with pytest.raises(
        MonthError, match="2021-06 is before the first month of the source, which has 2021-10 to 2025-06"
    ):
        require_month("2021-06", EMBEDDED)
    with pytest.raises(MonthError, match="2025-10 is after the last month of the source"):
        require_month("2025-10", EMBEDDED)
    with pytest.raises(MonthError, match="off-season"):
        require_month("2022-07", EMBEDDED)
