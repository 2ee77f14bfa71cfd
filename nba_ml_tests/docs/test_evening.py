"""The tutorial of a user's own data, run as printed: an export, a model, last night, tonight and tomorrow."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml_tests.docs.markdown import PAGES, ROOT, blocks
from nba_ml_tests.docs.test_snippets import Shell
from nba_ml_tests.limits import LENIENT, written
from nba_ml_tests.seasons_moved import AUTUMN_2025, moved
from nba_ml_tests.sources.importers.conftest import month_of
from nba_ml_tests.sources.importers.exports import LEAGUE_GAME_LOG, as_csv, league_game_log
from nba_ml_tests.sources.nba_com.server import Api, index_of, schedule_of, serve

pytestmark = pytest.mark.slow

TONIGHT = date(2025, 11, 28)
"""The date of the page."""


def test_an_evening_runs_as_printed(tmp_path: Path) -> None:
    """Guards against a step that only works on the shipped data, or needs what an earlier one did not make."""
    season = [row for month in AUTUMN_2025 for row in moved(month).to_pylist()]
    exported = [row for row in season if row["game_date"] < date(2025, 11, 25)]
    (tmp_path / "season.csv").write_text(as_csv(LEAGUE_GAME_LOG, league_game_log(exported)))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    api = Api(season, schedule_of(season), index_of(row for row in season if row["game_date"] <= TONIGHT))
    shell = Shell(tmp_path)
    with serve(api):
        shell.environment |= {
            "NBA_ML_NBA_API": api.address,
            "NBA_ML_THRESHOLDS": str(written(LENIENT)),
            "PATH": f"{ROOT / '.venv/bin'}:{shell.environment['PATH']}",
        }
        for block in blocks(PAGES / "tutorial" / "evening.md"):
            if not block.why_not_run:
                shell.run(block)

    for month in AUTUMN_2025:
        played = moved(month).filter(pc.less_equal(moved(month)["game_date"], pa.scalar(TONIGHT)))
        assert month_of(tmp_path / "my-data", month).equals(played.replace_schema_metadata(None))
    tonight = [row for row in season if row["game_date"] == TONIGHT]
    slate = pq.read_table(tmp_path / "tonight.parquet")
    assert len(slate["game_id"].unique()) == len({row["game_id"] for row in tonight})
    assert {str(row["player_id"]) for row in tonight} <= set(slate["universal_player_id"].to_pylist())
