"""The embedded box scores and lines, in the schemas of the assets, and their features: made once a session."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.features import V4_FEATURES
from nba_ml.contract.season import month_of, season_months
from nba_ml.data.box_scores import normalise_prop_lines
from nba_ml.data.features import compute_features, inactive_lists
from nba_ml.data.reports import LISTED
from nba_ml.data.tables import PROP_LINES
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.conftest import summary_of
from nba_ml_tests.data.features.reference import Games
from nba_ml_tests.shared_tables import shared

COMPUTED_AT = datetime(2025, 7, 1, 12, tzinfo=UTC)
FIRST, LAST = date(2021, 10, 1), date(2025, 6, 30)


@pytest.fixture(scope="session")
def summary() -> pa.Table:
    """All embedded box scores, schema PLAYER_GAME_SUMMARY."""
    return pa.concat_tables([summary_of(month) for month in season_months(month_of(FIRST), month_of(LAST))])


@pytest.fixture(scope="session")
def lines() -> pa.Table:
    """All embedded lines, schema PROP_LINES."""
    return normalise_prop_lines(pq.read_table(SAMPLE_DATA / "prop_lines"), "prop_lines").select(PROP_LINES.names)


@pytest.fixture(scope="session")
def all_features(summary: pa.Table, lines: pa.Table) -> pa.Table:
    """The features of all 36 months, from one call."""
    return shared("all_features", lambda: compute_features(summary, lines, FIRST, LAST, computed_at=COMPUTED_AT))


@pytest.fixture(scope="session")
def listed() -> pa.Table:
    """All embedded players who were listed without minutes, schema LISTED."""
    return pq.read_table(SAMPLE_DATA / "listed_without_minutes").select(LISTED.names).cast(LISTED)


@pytest.fixture(scope="session")
def reports(summary: pa.Table, listed: pa.Table) -> pa.Table:
    """The stand-in for reports of all months, schema REPORTS."""
    return inactive_lists(summary, listed, FIRST, LAST)


@pytest.fixture(scope="session")
def all_career_features(summary: pa.Table, lines: pa.Table, reports: pa.Table) -> pa.Table:
    """The same with the third version's features, which are those of the second and two more."""

    def computed() -> pa.Table:
        return compute_features(
            summary, lines, FIRST, LAST, computed_at=COMPUTED_AT, version=V4_FEATURES, reports=reports
        )

    return shared("all_career_features", computed)


def every_day_listed(first: date, last: date) -> pa.Table:
    """A list of nobody for each date, schema LISTED: with it, every date has a stand-in for its reports."""
    days = [first + timedelta(days=at) for at in range((last - first).days + 1)]
    return pa.table([days, pa.nulls(len(days)), ["did_not_dress"] * len(days)], names=LISTED.names).cast(LISTED)


def matrix(features: pa.Table) -> npt.NDArray[np.float64]:
    """The vectors of feature store rows, (rows, features)."""
    values = features["features"].combine_chunks().flatten().to_numpy()
    return np.asarray(values, dtype=np.float64).reshape(features.num_rows, -1)


def same_rows(one: pa.Table, other: pa.Table) -> bool:
    """Whether two feature tables hold the same rows to the bit, NaN and the sign of zero included."""
    if not one.drop_columns(["features"]).equals(other.drop_columns(["features"])):
        return False
    return matrix(one).tobytes() == matrix(other).tobytes()


def between(table: pa.Table, first: date, last: date) -> pa.Table:
    """The rows of a range of dates, both ends inclusive."""
    return table.filter(pc.and_(pc.greater_equal(table["game_date"], first), pc.less_equal(table["game_date"], last)))


@pytest.fixture(scope="session")
def games(summary: pa.Table, lines: pa.Table, listed: pa.Table) -> Games:
    """The reference's index over the same games, lines and lists."""
    return Games(summary, lines, listed)
