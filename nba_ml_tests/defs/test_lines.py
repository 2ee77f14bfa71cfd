"""Lines through Dagster: what becomes of a file of them is on the record, and a file that matches nobody stops."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.assets import FEATURE_ASSETS
from nba_ml.defs.build import build_defs
from nba_ml.runner.home import open_instance
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.conftest import games_of
from nba_ml_tests.defs.test_chain import Home, materialised, opened

pytestmark = pytest.mark.slow

BEFORE, MONTH, DAY = "2021-10", "2021-11", date(2021, 11, 17)


def lines() -> pa.Table:
    """A line for each of 150 player-games, by id and with a name as no box score has it."""
    games = games_of(MONTH)
    games = games.filter(pc.equal(games["game_date"], DAY)).slice(0, 150)
    return pa.table(
        {
            "game_date": games["game_date"],
            "player_id": games["player_id"],
            "player_name": pc.binary_join_element_wise(games["player_name"], "Sr", " "),
            "book": pa.repeat("a", games.num_rows),
            "line": pc.add(pc.cast(games["pts"], pa.float64()), 0.5),
        }
    )


def run(folder: Path, listed: pa.Table) -> dict[str, dg.ExecuteInProcessResult]:
    """The feature assets of two months, with these lines in the second."""
    (folder / "data" / "player_games").mkdir(parents=True)
    (folder / "data" / "prop_lines").mkdir()
    for month in (BEFORE, MONTH):
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", folder / "data" / "player_games")
    pq.write_table(listed, folder / "data" / "prop_lines" / "lines.parquet")
    with opened(folder / "home") as shipped:
        settings = replace(shipped.settings, data=folder / "data")
    with open_instance(settings) as instance:
        home = Home(settings, build_defs(settings), instance)
        return {month: home.run(month, FEATURE_ASSETS) for month in (BEFORE, MONTH)}


def line_checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """What the two checks of matched lines said."""
    return {e.check_name: e for e in result.get_asset_check_evaluations() if e.check_name.startswith("lines_matched")}


def test_lines_by_id_are_counted_and_a_month_without_lines_has_nothing_to_judge(tmp_path: Path) -> None:
    """Guards names that differ beside ids that are right, and a check that fails where nobody has lines."""
    results = run(tmp_path, lines())
    for asset in ("ml_feature_store_v2", "feature_store_snapshot"):
        facts = {k: v.value for k, v in materialised(results[MONTH])[asset].metadata.items() if k.startswith("lines")}
        table = str(facts.pop("lines_by_outcome"))
        assert facts == {"lines": 150, "lines_matched": 150, "lines_unmatched": 0, "lines_named_otherwise": 0}
        assert "matched by id" in table
    found = line_checks(results[MONTH])
    assert {name: each.passed for name, each in found.items()} == {
        "lines_matched": True,
        "lines_matched_complete": True,
    }
    assert ": 1, required: " in str(found["lines_matched"].description)
    none = line_checks(results[BEFORE])["lines_matched"]
    assert none.passed
    assert ": no lines to match, required: " in str(none.description)


@pytest.mark.parametrize(
    ("wrong", "stops", "said"),
    [
        (15, False, "15 of 150 lines of 2021-11 match no player: id unknown (15)"),
        (31, True, "31 of 150 lines of 2021-11 match no player: id unknown (31)"),
    ],
)
def test_lines_that_match_nobody_are_told_and_too_many_stop_the_run(
    tmp_path: Path, wrong: int, stops: bool, said: str
) -> None:
    """Guards lines lost without a word: ids of another source, in a few rows or in many."""
    listed = lines()
    ids = [identity * 10_000 if at < wrong else identity for at, identity in enumerate(listed["player_id"].to_pylist())]
    results = run(tmp_path, listed.set_column(1, "player_id", pa.array(ids, pa.int64())))
    assert results[MONTH].success is not stops
    found = line_checks(results[MONTH])
    assert found["lines_matched"].passed is not stops
    assert not found["lines_matched_complete"].passed
    assert said in str(found["lines_matched_complete"].description)
    assert found["lines_matched_complete"].severity is dg.AssetCheckSeverity.WARN
    assert materialised(results[MONTH])["ml_feature_store_v2"].metadata["lines_unmatched"].value == wrong


def test_lines_of_the_next_day_are_suspected_of_utc(tmp_path: Path) -> None:
    """Guards evening games, which lie on the next date in UTC: most of a season's lines would be lost."""
    listed = lines()
    tomorrow = pa.repeat(DAY + timedelta(days=1), listed.num_rows).cast(pa.date32())
    results = run(tmp_path, listed.set_column(0, "game_date", tomorrow))
    assert not results[MONTH].success
    assert "game the day before: dated by UTC? (" in str(line_checks(results[MONTH])["lines_matched"].description)
