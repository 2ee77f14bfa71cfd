"""Checks of a snapshot: each passes on a real month and fails, in words, on one that was spoilt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from nba_ml.checks.build import _result
from nba_ml.checks.check import Check, Severity
from nba_ml.checks.feature_store_snapshot import CHECKS
from nba_ml.core.digest import table_digest
from nba_ml.core.snapshot import Snapshot, SnapshotCounts
from nba_ml_tests.conftest import snapshot_of

MONTH = "2021-11"
NAMES = [check.name for check in CHECKS]


def check(name: str) -> Check:
    return next(each for each in CHECKS if each.name == name)


def described(name: str, snapshot: Snapshot) -> tuple[bool, str, str]:
    """Whether the check passes, its message, and its offenders as shown."""
    result = _result(check(name), check(name).examine(snapshot, MONTH))
    worst = str(result.metadata["worst"].value) if "worst" in result.metadata else ""
    return result.passed, str(result.description), worst


def with_table(table: pa.Table) -> Snapshot:
    """A snapshot of other rows, with a digest that names them."""
    return replace(snapshot_of(MONTH), table=table, digest=table_digest(table))


def with_column(name: str, values: Sequence[float]) -> Snapshot:
    table = snapshot_of(MONTH).table
    return with_table(table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values)))


def changed(name: str, *values: float) -> Snapshot:
    """The first rows with other values of a feature."""
    kept = snapshot_of(MONTH).table[name].to_pylist()
    return with_column(name, [*values, *kept[len(values) :]])


@pytest.mark.parametrize("month", ["2021-10", "2021-11"])
@pytest.mark.parametrize("name", NAMES)
def test_real_months_pass(name: str, month: str) -> None:
    """Guards against a check that no month can pass, an October without rows among them."""
    finding = check(name).examine(snapshot_of(month), month)
    assert finding.passed
    assert not finding.worst


def test_a_column_too_many_or_too_few_breaks_the_contract() -> None:
    """Guards against a model trained on columns that the contract does not have."""
    table = snapshot_of(MONTH).table
    renamed = table.rename_columns([name.replace("team_pace", "pace") for name in table.column_names])
    passed, message, worst = described("contract", with_table(renamed))
    assert not passed
    assert message.startswith("failed: differences from the contract 2 over 4,662 rows;")
    assert "column pace double" in worst
    assert "column team_pace is not there" in worst
    assert message.endswith("Materialise feature_store_snapshot for 2021-11 again with this version of the code.")


def test_a_column_of_another_type_breaks_the_contract() -> None:
    """Guards against whole numbers where the booster expects floats."""
    table = snapshot_of(MONTH).table
    cast = table.set_column(table.column_names.index("points"), "points", table["points"].cast(pa.int64()))
    passed, _, worst = described("contract", with_table(cast))
    assert not passed
    assert "column points int64" in worst


def test_columns_in_another_order_break_the_contract() -> None:
    """Guards against two features that changed places: no name is missing and no type is wrong."""
    table = snapshot_of(MONTH).table
    names = table.column_names
    names[3], names[4] = names[4], names[3]
    passed, message, worst = described("contract", with_table(table.select(names)))
    assert not passed
    assert "differences from the contract 1" in message
    assert "the order of the columns" in worst


def test_rows_behind_another_digest_break_the_contract() -> None:
    """Guards against a stored file that was edited: its digest still names the old rows."""
    edited = replace(changed("team_pace", 99.0), digest=snapshot_of(MONTH).digest)
    passed, message, worst = described("contract", edited)
    assert not passed
    assert "differences from the contract 1" in message
    assert "the rows are not those of the digest" in worst


def test_a_repeated_player_game_is_found() -> None:
    """Guards against a row that counts twice in training."""
    table = snapshot_of(MONTH).table
    passed, message, worst = described("unique_keys", with_table(pa.concat_tables([table, table.slice(0, 2)])))
    assert not passed
    assert message.startswith("failed: player-games that stand more than once 2 over 4,664 rows;")
    assert table["player_lookup"][0].as_py() in worst
    assert "remove the older rows" in message


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("pct_three", 41.0, "pct_three outside 0 to 1"),
        ("opponent_pace", 0.0, "opponent_pace outside 80 to 125"),
        ("fatigue_score", float("nan"), "fatigue_score is missing"),
        ("points_avg_season", float("inf"), "points_avg_season is infinite"),
        ("home_away", 0.5, "home_away is neither 0 nor 1"),
    ],
)
def test_values_that_the_contract_forbids_are_found(name: str, value: float, fault: str) -> None:
    """Guards against a unit that changed, or a gap, in a snapshot that was not taken by this code."""
    passed, message, worst = described("ranges", changed(name, value))
    assert not passed
    assert message.startswith(
        "failed: rows outside the contract's ranges or missing where forbidden 1 over 4,662 rows;"
    )
    assert fault in worst
    assert snapshot_of(MONTH).table["player_lookup"][0].as_py() in worst


def test_at_most_five_offenders_are_shown_and_all_are_counted() -> None:
    """Guards against a month of offenders in the UI's database."""
    passed, message, worst = described("ranges", changed("pct_three", *[41.0] * 100))
    assert not passed
    assert "missing where forbidden 100 over" in message
    assert worst.count("pct_three outside") == 5


def with_coverage(covered: int) -> Snapshot:
    counts = SnapshotCounts(samples=covered, early_season=0, without_result=0, rejected=0, played=1000, covered=covered)
    return replace(snapshot_of(MONTH), counts=counts)


@pytest.mark.parametrize(("name", "enough", "limit"), [("coverage", 800, "80%"), ("coverage_complete", 950, "95%")])
def test_a_month_that_is_not_there_yet_fails_below_its_limit(name: str, enough: int, limit: str) -> None:
    """Guards against a limit off by one, and against a message that does not say how much is missing."""
    assert described(name, with_coverage(enough))[0]
    passed, message, _ = described(name, with_coverage(enough - 1))
    assert not passed
    assert f"at least {limit} of the player-games played have a valid feature row" in message
    assert f"{1000 - enough + 1} player-games of 2021-11 have no valid feature row: wait for the backfill" in message


def test_half_a_month_blocks_and_an_incomplete_one_warns() -> None:
    """Guards against a warning that stops the platform, and an error that does not."""
    assert (check("coverage").severity, check("coverage").blocking) == (Severity.ERROR, True)
    assert (check("coverage_complete").severity, check("coverage_complete").blocking) == (Severity.WARN, False)
