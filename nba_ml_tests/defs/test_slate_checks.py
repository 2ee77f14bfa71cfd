"""The checks of a date's slate, on real rows of which some are broken."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.tables import SLATE_ROWS
from nba_ml.defs.checks import result_of
from nba_ml.defs.slate_checks import checks
from nba_ml.slates.slate import Slate
from nba_ml_tests.checks.scenes import scene
from nba_ml_tests.slate_scene import DAY, slate, slate_rows_of

LIMITS = Thresholds()


def told(name: str, made: Slate) -> tuple[bool, str, str]:
    """Whether the check passed, what it said, and whom it named."""
    [check] = [each for each in checks(LIMITS) if each.name == name]
    result = result_of(check, check.examine(made, scene("2022-01", limits=LIMITS)))
    worst = str(result.metadata["worst"].value) if "worst" in result.metadata else ""
    return bool(result.passed), str(result.description), worst


def rows_with(broken: int, **changed: object) -> pa.Table:
    """The day's rows, of which the first so many are in other units, and all have other values in some columns."""
    rows = slate_rows_of(DAY).to_pylist()
    for row in rows[:broken]:
        row["features"] = [None if value is None else value * 1000 + 500 for value in row["features"]]
    return pa.Table.from_pylist([{**row, **changed} for row in rows], SLATE_ROWS)


def test_a_slate_of_everybody_passes() -> None:
    """Guards against an alarm on every evening."""
    made = slate()
    assert told("somebody_predicted", made)[:2] == (
        True,
        f"passed: Players predicted: {made.report.served}, required: at least one player is predicted, unless every "
        f"row is early season. {made.report.rows} rows.",
    )
    passed, said, _ = told("few_set_aside", made)
    assert passed
    assert f"0.0% (0 of {made.report.served})" in said


def test_a_slate_of_nobody_fails_and_names_players_and_reasons() -> None:
    """Guards against a green run over an empty slate, which nobody hears of before the evening."""
    everybody = slate_rows_of(DAY).num_rows
    passed, said, worst = told("somebody_predicted", slate(rows_with(everybody)))
    assert not passed
    assert "failed: Players predicted: 0, required: " in said
    assert f"({everybody} rows)" in said
    assert f"`nba-ml slate predict --date {DAY}` makes another version" in said
    assert slate_rows_of(DAY).column("player_lookup")[0].as_py() in worst
    assert not told("few_set_aside", slate(rows_with(everybody)))[0]


def test_one_player_is_enough_to_be_a_slate_and_not_to_be_a_whole_one() -> None:
    """Guards against a run that stops over one bad row, and against hardly anybody that looks like everybody."""
    everybody = slate_rows_of(DAY).num_rows
    made = slate(rows_with(everybody - 1))
    assert told("somebody_predicted", made)[0]
    passed, said, _ = told("few_set_aside", made)
    assert not passed
    assert f"{(everybody - 1) / everybody:.1%} ({everybody - 1} of {everybody})" in said


@pytest.mark.parametrize(("beyond", "passes"), [(0, True), (1, False)])
def test_the_share_is_held_to_its_limit(beyond: int, passes: bool) -> None:
    """Guards against a limit that is off by a player."""
    allowed = int(LIMITS.max_set_aside * slate_rows_of(DAY).num_rows)
    assert allowed > 1
    assert told("few_set_aside", slate(rows_with(allowed + beyond)))[0] is passes


def test_the_first_days_of_a_season_are_no_fault() -> None:
    """Guards against a red slate on every day of the first fortnight, when nobody is to be predicted."""
    made = slate(rows_with(0, early_season_flag=True))
    assert (made.report.served, made.report.early_season) == (0, made.report.rows)
    passed, said, _ = told("somebody_predicted", made)
    assert passed
    assert "Players predicted: 0; every row is early season" in said
    assert told("few_set_aside", made)[0]


def test_rows_that_were_written_anew_are_no_players_left_out() -> None:
    """Guards against a warning on every slate of a feature store that appends its corrections."""
    rows = slate_rows_of(DAY)
    again = rows_with(0, updated_at=datetime(2022, 1, 15, 20, tzinfo=UTC))
    made = slate(pa.concat_tables([rows, again]))
    assert len(made.report.set_aside) == made.report.served == rows.num_rows
    passed, said, _ = told("few_set_aside", made)
    assert passed
    assert f"(0 of {rows.num_rows})" in said
