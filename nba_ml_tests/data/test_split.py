"""The split: time runs one way, whatever the dates and their sizes."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import SplitError
from nba_ml.contract.season import month_of
from nba_ml.data.split import SIDES, SplitManifest, split_by_date
from nba_ml_tests.conftest import snapshot_of, split_of

OPENING = date(2021, 10, 19)
Nights = dict[date, int]


def nights(days: list[int], sizes: list[int]) -> Nights:
    """Date -> number of rows."""
    return {OPENING + timedelta(days=day): size for day, size in zip(days, sizes, strict=False)}


def by_month(counts: Nights) -> dict[str, tuple[str, np.ndarray]]:
    """The dates of one row each, by month, as snapshots give them."""
    months: dict[str, list[date]] = {}
    for day, size in counts.items():
        months.setdefault(month_of(day), []).extend([day] * size)
    return {month: (f"digest of {month}", np.array(days, "datetime64[D]")) for month, days in months.items()}


def seasons(least: int, most: int = 60) -> st.SearchStrategy[Nights]:
    days = st.lists(st.integers(0, 250), min_size=least, max_size=most, unique=True).map(sorted)
    sizes = st.lists(st.integers(1, 300), min_size=60, max_size=60)
    return st.builds(nights, days, sizes)


@given(seasons(least=3))
def test_sides_are_ordered_disjoint_complete_and_none_is_empty(counts: Nights) -> None:
    """Guards against a date on two sides (a night that teaches the model about itself) and against lost rows."""
    split = split_by_date(by_month(counts))
    sides = split.sides()
    assert list(sides) == list(SIDES)
    claimed = [[day for day in counts if side.first <= day <= side.last] for side in sides.values()]
    assert [day for days in claimed for day in days] == sorted(counts)
    for side, days in zip(sides.values(), claimed, strict=True):
        assert (side.first, side.last, side.dates) == (days[0], days[-1], len(days))
        assert side.rows == sum(counts[day] for day in days) > 0
    assert split.rows == sum(counts.values())
    assert not split.empty


@given(seasons(least=3))
def test_each_cut_is_at_the_date_nearest_its_share(counts: Nights) -> None:
    """Guards against cuts that drift: 20% of the rows validate, an eighth of the others stop the training."""
    sides = split_by_date(by_month(counts)).sides()
    total = sum(counts.values())
    before = np.cumsum(list(counts.values()))  # rows before each boundary, the last one being the end
    kept = total - sides["validation"].rows
    allowed = before[1:-1]  # two dates in front of it, one behind it
    assert abs(kept - 0.8 * total) == min(abs(allowed - 0.8 * total))
    allowed = before[before < kept]
    assert abs(sides["train"].rows - 0.875 * kept) == min(abs(allowed - 0.875 * kept))


def test_the_shares_of_many_equal_nights_are_70_10_20() -> None:
    """Guards against shares that were mixed up: an eighth of the 80% is 10%."""
    sides = split_by_date(by_month(nights(list(range(200)), [10] * 200))).sides()
    assert [side.rows for side in sides.values()] == [1400, 200, 400]


@given(seasons(least=1, most=2))
def test_fewer_than_three_dates_cannot_be_split(counts: Nights) -> None:
    """Guards against an empty side; the message says how many rows and dates there are, and what to do."""
    rows, last = sum(counts.values()), max(counts)
    with pytest.raises(
        SplitError, match=rf"^{rows:,} rows on {len(counts)} date\(s\), the last {last}, cannot be split"
    ):
        split_by_date(by_month(counts))


@given(seasons(least=3), st.sampled_from(["2020-10", "2022-10", "2030-10"]))
def test_an_empty_month_changes_nothing(counts: Nights, empty: str) -> None:
    """Guards against an October without samples giving June's model another digest and another name."""
    months = by_month(counts)
    without, with_empty = (
        split_by_date(months),
        split_by_date({**months, empty: ("empty", np.array([], "datetime64[D]"))}),
    )
    assert with_empty == without
    assert with_empty.digest == without.digest


@given(seasons(least=3))
def test_the_order_of_the_months_does_not_matter(counts: Nights) -> None:
    """Guards against a manifest that follows the order in which a store lists its months."""
    months = by_month(counts)
    backwards = dict(reversed(months.items()))
    assert split_by_date(backwards).digest == split_by_date(months).digest
    assert [ref.month for ref in split_by_date(backwards).snapshots] == sorted(months)


def test_the_digest_follows_snapshots_and_cuts() -> None:
    """Guards against a split that looks unchanged after a month was frozen anew."""
    months = by_month(nights(list(range(30)), [10] * 30))
    split = split_by_date(months)
    [first, *_] = months
    refrozen = split_by_date({**months, first: ("another digest", months[first][1])})
    shorter = split_by_date({**months, first: (months[first][0], months[first][1][:-1])})
    assert len({split.digest, refrozen.digest, shorter.digest}) == 3
    assert SplitManifest.model_validate_json(split.model_dump_json()) == split


def test_no_month_and_empty_months_give_an_empty_split() -> None:
    """Guards against an error where the first October, all early season, has nothing to split yet."""
    for months in ({}, {"2021-10": ("empty", np.array([], "datetime64[D]"))}):
        split = split_by_date(months)
        assert split.empty
        assert split.rows == 0
        assert split.sides() == {}
        with pytest.raises(SplitError, match="no samples yet"):
            _ = split.newest_month


def test_real_months_are_split_by_date() -> None:
    """Guards against dates as Arrow hands them over being read otherwise than in the tests above."""
    split = split_of(["2021-10", "2021-11", "2021-12"])
    assert [ref.month for ref in split.snapshots] == ["2021-11", "2021-12"]
    assert split.newest_month == "2021-12"
    assert [ref.digest for ref in split.snapshots] == [snapshot_of(m).digest for m in ("2021-11", "2021-12")]
    shares = [side.rows / split.rows for side in split.sides().values()]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
