"""Which results are missing: by game and by date, whatever the order of the rows, whoever sat out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.season import month_bounds, month_of, season_on
from nba_ml.data.progress import MonthProgress, TableState
from nba_ml.data.results_due import absent_dates, dates_without_results, last_date_due, named_dates, split_by_due
from nba_ml.settings import SAMPLE_DATA

DAYS = [date(2022, 3, 1) + timedelta(days=n) for n in range(4)]

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c"]),
        st.sampled_from(DAYS),
        st.sampled_from([None, "", "x", "y"]),
        st.booleans(),
    ),
    max_size=30,
)


def frame(rows: list[tuple[str, date, str | None, bool]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["player_lookup", "game_date", "game_id", "has_result"])
    return table.assign(game_date=pd.to_datetime(table["game_date"]))


@given(ROWS, st.randoms())
def test_a_game_lacks_results_if_nobody_has_one(rows: list[tuple[str, date, str | None, bool]], random: object) -> None:
    """Guards against players who sat out, a game beside another on its day, and the order of the rows."""
    games: dict[tuple[date, str], list[tuple[str, bool]]] = {}
    for player, day, game, result in rows:
        if player:
            games.setdefault((day, game or ""), []).append((player, result))
    expected: dict[date, int] = {}
    for (day, _), players in games.items():
        if not any(result for _, result in players):
            expected[day] = expected.get(day, 0) + len({player for player, _ in players})
    random.shuffle(rows)  # type: ignore[attr-defined]
    table = frame(rows)
    found = dates_without_results(table, table["has_result"].to_numpy(dtype=np.bool_))
    assert found == expected
    assert list(found) == sorted(found)


@given(st.dictionaries(st.sampled_from(DAYS), st.integers(1, 300)), st.sampled_from(DAYS))
def test_every_date_is_missing_or_awaited(days: dict[date, int], due: date) -> None:
    """Guards against a date that is neither, and against tonight's games being called missing."""
    missing, awaited = split_by_due(days, due)
    assert missing | awaited == days
    assert all(day <= due for day in missing)
    assert all(day > due for day in awaited)
    assert all(str(day) in named_dates(days) for day in days)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2022, 3, 2, 16, 59, tzinfo=UTC), date(2022, 2, 28)),  # 11:59 in New York, in winter
        (datetime(2022, 3, 2, 17, 0, tzinfo=UTC), date(2022, 3, 1)),
        (datetime(2022, 6, 2, 15, 59, tzinfo=UTC), date(2022, 5, 31)),  # and in summer
        (datetime(2022, 6, 2, 16, 0, tzinfo=UTC), date(2022, 6, 1)),
        (datetime(2022, 3, 2, 3, 0, tzinfo=UTC), date(2022, 2, 28)),  # still the first in New York: of yesterday
    ],
)
def test_results_are_due_at_noon_in_new_york(now: datetime, due: date) -> None:
    """Guards against a night's games that are overdue while they are played, wherever the machine stands."""
    assert last_date_due(now) == due


@given(st.integers(0, 5000), st.integers(0, 5000), st.data())
def test_missing_results_lower_the_coverage(played: int, missing: int, data: st.DataObject) -> None:
    """Guards against 0.0% missing where nothing is known, and against a share above one."""
    covered = data.draw(st.integers(0, played))
    days = {DAYS[0]: missing} if missing else {}

    def month(awaited: dict[date, int]) -> MonthProgress:
        state = TableState(played, 1, 1, 1, None, "v")
        features = TableState(covered + missing, 1, 1, 1, None, "v")
        return MonthProgress("2022-03", state, features, covered, None, missing=days, awaited=awaited)

    found = month({})
    assert 0 <= found.coverage <= 1
    assert found.trainable == (covered > 0 and 5 * covered >= 4 * (played + missing))
    assert month({DAYS[3]: 250}).coverage == found.coverage
    assert any("results missing: 2022-03-01" in note for note in found.notes()) == bool(missing)


def test_many_dates_are_counted() -> None:
    """Guards against a message of thirty dates."""
    days = dict.fromkeys([date(2022, 3, 1) + timedelta(days=n) for n in range(30)], 200)
    assert named_dates(days) == "2022-03-01, 2022-03-02, 2022-03-03, 2022-03-04, 2022-03-05 and 25 more dates"


@pytest.fixture(scope="module")
def played() -> dict[str, list[date]]:
    """Month -> the dates of its shipped games."""
    files = sorted((SAMPLE_DATA / "player_games").iterdir())
    return {file.stem: sorted(set(pd.read_parquet(file, columns=["game_date"])["game_date"])) for file in files}


def test_no_date_of_a_shipped_month_is_missing(played: dict[str, list[date]]) -> None:
    """Guards against All-Star breaks, Thanksgivings, election days and rounds of the cup that are called gaps."""
    assert len(played) == 36
    absent = {month: absent_dates(month, days, 4000, date.max) for month, days in played.items()}
    assert {month: days for month, days in absent.items() if days} == {}


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_dates_that_neither_table_has_are_named(played: dict[str, list[date]], length: int) -> None:
    """Guards against gaps of a few days that both tables have, which nobody notices."""
    named = removed = 0
    for month, days in played.items():
        for first in (day for day in days if day <= season_on(day).regular_end):
            gap = [first + timedelta(days=n) for n in range(length)]
            gone = {day for day in gap if day in days and day <= season_on(day).regular_end}
            found = absent_dates(month, [day for day in days if day not in gap], 4000, date.max)
            assert found.keys() <= gone
            named, removed = named + len(found), removed + len(gone)
    assert named > 0.97 * removed > 500


@pytest.mark.parametrize(
    ("gap", "named"),
    [
        ("2016-02-12 2016-02-17", ""),  # the All-Star break, a week early
        ("2021-03-05 2021-03-09", ""),  # and in March
        ("2018-11-22 2018-11-22", ""),
        ("2018-11-22 2018-11-23", "2018-11-23"),
        ("2020-12-24 2020-12-24", ""),
        ("2016-11-08 2016-11-08", ""),
        ("2018-04-02 2018-04-02", ""),
        ("2020-03-12 2020-03-31", ""),  # the pandemic
        ("2020-08-05 2020-08-05", "2020-08-05"),
        ("2025-12-14 2025-12-15", ""),  # in the cup
        ("2022-12-14 2022-12-14", "2022-12-14"),  # before there was one
        ("2022-01-31 2022-01-31", "2022-01-31"),
        ("2032-01-14 2032-01-14", ""),  # a schedule that is not known may have one more break
        ("2032-01-14 2032-01-15", "2032-01-14 2032-01-15"),
        ("2031-10-20 2031-10-21", ""),
    ],
)
def test_breaks_of_other_seasons_are_no_gaps(gap: str, named: str) -> None:
    """Guards against a rule that knows the shipped seasons only."""
    first, last = map(date.fromisoformat, gap.split())
    begins, ends = month_bounds(month_of(first))
    days = [begins + timedelta(days=n) for n in range((ends - begins).days + 1)]
    known = [day for day in days if not first <= day <= last and season_on(day).has_games(day, day)]
    assert list(absent_dates(month_of(first), known, 4000, date.max)) == [
        date.fromisoformat(day) for day in named.split()
    ]
