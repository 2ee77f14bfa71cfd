"""The edges of what a predictor takes for a row, and of a watch's counters: made-up values, no model."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nba_ml.contract.errors import FeatureRowsError, PublicationError, SettingsError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.serving import watch
from nba_ml.serving.rows import LONGEST_KEY, MOST_FAULTS, Fault, FeatureRows, read_rows
from nba_ml.serving.watch import AGAIN_SECONDS, GRACE_SECONDS, Watch, WatchStatus, require_period

FEATURES = V2_33FEATURES.features
FLAG = next(feature for feature in FEATURES if feature.unit == "0/1")
RANGED = next(feature for feature in FEATURES if feature.unit != "0/1" and not feature.nullable)
OPTIONAL = next(feature for feature in FEATURES if feature.nullable)
LIMITS = f"{RANGED.low:g} to {RANGED.high:g} ({RANGED.unit})"
GOOD: dict[str, Any] = {feature.name: feature.low if feature.unit != "0/1" else 0 for feature in FEATURES}


def faults_of(rows: object) -> list[Fault]:
    with pytest.raises(FeatureRowsError) as refused:
        read_rows(rows)
    return list(refused.value.faults)


def forms(*rows: dict[str, Any]) -> list[object]:
    """The rows in every kind that is accepted."""
    names = list(rows[0])
    return [list(rows), tuple(rows), pd.DataFrame(list(rows)), pa.table({n: [row[n] for row in rows] for n in names})]


def test_a_row_at_the_ends_of_its_ranges_is_taken_and_one_beyond_is_not() -> None:
    for name, low, high in ((RANGED.name, RANGED.low, RANGED.high), (FLAG.name, 0.0, 1.0)):
        for value in (low, high):
            for form in forms({**GOOD, name: float(value)}):
                assert read_rows(form).features.shape == (1, 33)
        for value in (np.nextafter(low, -np.inf), np.nextafter(high, np.inf)):
            for form in forms({**GOOD, name: float(value)}):
                [fault] = faults_of(form)
                assert (fault.row, fault.field) == (0, name)
                assert "outside" in fault.problem
    [fault] = faults_of({**GOOD, FLAG.name: 0.5})
    assert fault.problem == "is 0.5, neither 0 nor 1"
    [fault] = faults_of({**GOOD, RANGED.name: float("inf")})
    assert fault.problem == f"is infinite, outside {LIMITS}"
    [fault] = faults_of({**GOOD, RANGED.name: 10**400})
    assert fault.problem == f"is infinite, outside {LIMITS}"


@pytest.mark.parametrize(
    ("flag", "line", "problem"),
    [
        (1, None, "is 1, and vegas_points_line is null. Give the line, or 0 if no book has one"),
        (0, 24.5, "is 0, and vegas_points_line is 24.5. Give 1, or null for the line if no book has one"),
        (1.0, 24.5, None),
        (0, None, None),
    ],
    ids=str,
)
def test_a_flag_that_contradicts_the_line(flag: float, line: float | None, problem: str | None) -> None:
    """Guards a client of the service, whose line was ignored; a stored row is read as training reads it."""
    row = {**GOOD, "has_vegas_line": flag, "vegas_points_line": line}
    assert read_rows(row).features.shape == (1, 33)
    if problem is None:
        assert read_rows(row, line_as_flagged=True).features.shape == (1, 33)
        return
    with pytest.raises(FeatureRowsError) as refused:
        read_rows([{**GOOD, "vegas_points_line": None}, row], line_as_flagged=True)
    assert refused.value.faults == (Fault(1, "has_vegas_line", problem),)


def test_missing_is_taken_where_the_contract_says_so() -> None:
    for form in forms({**GOOD, OPTIONAL.name: None}, {**GOOD, OPTIONAL.name: float("nan")}):
        at = V2_33FEATURES.names.index(OPTIONAL.name)
        assert np.isnan(read_rows(form).features[:, at]).all()
    for form in forms({**GOOD, RANGED.name: None}):
        [fault] = faults_of(form)
        assert fault.field == RANGED.name
        assert fault.problem == f"is missing, which the contract forbids. Give a number, {LIMITS}"


def test_numbers_of_any_kind_are_numbers_and_truth_is_none() -> None:
    for value in (np.float32(0), np.int64(0), Fraction(0), 0):
        assert read_rows({**GOOD, FLAG.name: value}).features.shape == (1, 33)
    shown = (
        (True, "true"),
        ("0", '"0"'),
        ([None, "a"], '[null, "a"]'),
        ({"a": 1.5}, '{"a": 1.5}'),
        (0j, "0j (complex)"),
    )
    for wrong, words in shown:
        [fault] = faults_of({**GOOD, FLAG.name: wrong})
        assert fault.problem == f"is {words}, not a number"
        [fault] = faults_of(pd.DataFrame([GOOD, {**GOOD, FLAG.name: wrong}], dtype=object))
        assert (fault.row, fault.field) == (1, FLAG.name)
    [fault] = faults_of({**GOOD, FLAG.name: "x" * 50})
    assert fault.problem == f'is "{"x" * 39}..., not a number'
    [fault] = faults_of({**GOOD, FLAG.name: "x" * 38})
    assert fault.problem == f'is "{"x" * 38}", not a number'
    [fault] = faults_of({**GOOD, FLAG.name: "\u202e\n"})
    assert fault.problem == r'is "\u202e\n", not a number'


def test_each_name_must_be_there_and_no_other() -> None:
    less = {name: value for name, value in GOOD.items() if name != RANGED.name}
    [fault] = faults_of([GOOD, less])
    assert (fault.row, fault.field) == (1, RANGED.name)
    assert fault.problem.startswith("is missing. Give every feature")
    [fault] = faults_of(pd.DataFrame([less]))
    assert (fault.row, fault.field) == (None, RANGED.name)
    more = {f"other{number:03d}": 1 for number in range(MOST_FAULTS + 2)}
    faults = faults_of({**GOOD, **more})
    assert len(faults) == MOST_FAULTS == 50
    with pytest.raises(FeatureRowsError, match=r"51 fault\(s\) in 1 row.*; and 46 more\. No predictions were made"):
        read_rows({**GOOD, **more})
    with pytest.raises(FeatureRowsError) as refused:
        read_rows({**GOOD, **dict(list(more.items())[:6])})
    assert "; and 1 more" in str(refused.value)
    assert str(refused.value).count("other0") == 5
    with pytest.raises(FeatureRowsError) as refused:
        read_rows({**GOOD, **dict(list(more.items())[:5])})
    assert "more" not in str(refused.value)
    assert "row 0, other000: is not a feature of v2_33features" in str(refused.value)
    twice = pd.DataFrame([GOOD])
    twice.insert(0, RANGED.name, 1.0, allow_duplicates=True)
    assert faults_of(twice) == [Fault(None, RANGED.name, "is given more than once")]
    assert str(Fault(None, None, "is wrong")) == "is wrong"


@pytest.mark.parametrize("given", [[3], "rows", 3, [[1.0] * 33], np.zeros((1, 33))])
def test_what_carries_no_names_is_refused(given: object) -> None:
    with pytest.raises(FeatureRowsError, match=r"have no names|not an object of names and values"):
        read_rows(given)


def test_no_rows_are_no_fault() -> None:
    assert read_rows([]).features.shape == (0, 33)
    assert read_rows(pd.DataFrame([GOOD]).iloc[:0]).features.shape == (0, 33)


DAY = date(2025, 1, 15)


@pytest.mark.parametrize(
    ("value", "day"),
    [(DAY, DAY), ("2025-01-15", DAY), (datetime(2025, 1, 15), DAY), (None, None), (datetime(2025, 1, 15, 0, 0, 1), 0),
     ("2025-02-30", 0), ("2025-1-15", 0), (" 2025-01-15", 0), (20250115, 0), ("2025-01-15T00:00", 0)],
)  # fmt: skip
def test_a_date_is_a_day(value: Any, day: date | int | None) -> None:
    row = {**GOOD, "game_date": value}
    if day == 0:
        [fault] = faults_of([GOOD, row])
        assert (fault.row, fault.field) == (1, "game_date")
        assert fault.problem.endswith("not a date such as 2025-01-15")
    else:
        assert list(read_rows(row).game_date) == [day]


@pytest.mark.parametrize("name", ["player_lookup", "game_id"])
def test_a_key_is_text_of_a_length(name: str) -> None:
    for value in ("a", "x" * LONGEST_KEY, None):
        found: FeatureRows = read_rows([{**GOOD, name: value}, GOOD])
        assert list(getattr(found, name)) == [value, None]
    for wrong in ("", "x" * (LONGEST_KEY + 1), 3, "\ud800"):
        [fault] = faults_of([GOOD, {**GOOD, name: wrong}])
        assert (fault.row, fault.field) == (1, name)
        assert fault.problem.endswith("not text of 1 to 200 characters (UTF-8)")
    assert LONGEST_KEY == 200


def test_some_of_the_rows_in_another_order() -> None:
    rows = [
        {**GOOD, RANGED.name: float(RANGED.low + n), "player_lookup": f"p{n}", "game_id": f"g{n}", "game_date": DAY}
        for n in range(3)
    ]
    for form in forms(*rows):
        taken = read_rows(form).take([2, 0])
        assert (list(taken.player_lookup), list(taken.game_id)) == (["p2", "p0"], ["g2", "g0"])
        assert list(taken.game_date) == [DAY, DAY]
        at = V2_33FEATURES.names.index(RANGED.name)
        assert taken.features[0, at] > taken.features[1, at]


# --- a watch --------------------------------------------------------------------------------------------------

AT = datetime(2025, 1, 15, tzinfo=UTC)


class Channel:
    """A channel that answers as the test says, and what the watch told of it."""

    def __init__(self) -> None:
        self.answer: Callable[[], bool] = lambda: False
        self.told: list[WatchStatus] = []
        self.names: list[str] = []

    def refresh(self, name: str) -> bool:
        self.names.append(name)
        return self.answer()


def fails(error: Exception) -> Callable[[], bool]:
    def answer() -> bool:
        raise error

    return answer


def test_a_watch_counts_failures_in_a_row_and_ever() -> None:
    """Guards the counter that an alarm reads: a recovery sets it back to 0, and `failures_ever` never is."""
    channel = Channel()
    with Watch(channel.refresh, "champion", 3_600, checked_at=AT, tell=channel.told.append) as followed:
        assert followed.alive
        assert followed.status == WatchStatus("champion", 3_600, checked_at=AT)
        channel.answer = fails(PublicationError("no answer"))
        followed._check()
        followed._check()
        assert (followed.status.failures, followed.status.failures_ever) == (2, 2)
        assert (followed.status.failure, followed.status.checked_at) == ("no answer", AT)
        assert followed.status.failed_at is not None
        assert followed.pause == AGAIN_SECONDS == 60
        channel.answer = lambda: False
        before = datetime.now(UTC)
        followed._check()
        found = followed.status
        assert (found.failure, found.failed_at, found.failures, found.failures_ever) == (None, None, 0, 2)
        assert found.checked_at is not None
        assert found.checked_at >= before
        assert found.swapped_at is None
        assert followed.pause == 3_600
        followed._check()
        channel.answer = fails(KeyError("x"))
        followed._check()
        assert (followed.status.failure, followed.status.failures, followed.status.failures_ever) == (
            "KeyError: 'x'",
            1,
            3,
        )
        channel.answer = lambda: True
        followed._check()
        swapped = followed.status.swapped_at
        assert swapped is not None
        channel.answer = lambda: False
        followed._check()
        assert followed.status.swapped_at == swapped
        assert channel.names == ["champion"] * 7
        assert [each.failures for each in channel.told] == [1, 2, 0, 1, 0], "told of failures, recoveries and swaps"
    assert not followed.alive


def test_a_short_watch_does_not_wait_longer_after_a_failure() -> None:
    channel = Channel()
    with Watch(channel.refresh, "champion", 30, checked_at=AT) as followed:
        channel.answer = fails(PublicationError("no answer"))
        followed._check()
        assert followed.pause == 30


def test_a_watch_is_overdue_after_two_looks_and_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(watch, "monotonic", lambda: now[0])
    channel = Channel()
    with Watch(channel.refresh, "champion", 100, checked_at=AT) as followed:
        now[0] += 2 * 100 + GRACE_SECONDS
        assert not followed.overdue
        now[0] += 1
        assert followed.overdue
        followed._check()
        assert not followed.overdue
        channel.answer = fails(PublicationError("no answer"))
        now[0] += 211
        followed._check()
        assert followed.overdue
    assert GRACE_SECONDS == 10


@pytest.mark.parametrize("seconds", [0.001, 86_400])
def test_a_period_within_a_day_is_good(seconds: float) -> None:
    require_period(seconds)
    assert timedelta(seconds=seconds) <= timedelta(days=1)


@pytest.mark.parametrize("seconds", [0, -1, 86_400.5, float("nan"), float("inf")])
def test_any_other_period_is_refused(seconds: float) -> None:
    said = re.escape(f"A channel cannot be read every {seconds} seconds. Give a number above 0 and at most 86,400")
    with pytest.raises(SettingsError, match=said):
        require_period(seconds)
    with pytest.raises(SettingsError):
        Watch(Channel().refresh, "champion", seconds, checked_at=AT)


def test_rows_that_were_read_are_not_read_again() -> None:
    """Guards a slate's second reading, for its challenger, against taking as long as the first."""
    rows = read_rows([GOOD])
    assert read_rows(rows) is rows
    assert read_rows(rows, V2_33FEATURES) is rows
