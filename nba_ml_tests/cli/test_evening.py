"""A new user's evening, as the tutorial tells it: an export, a model, last night, tonight and tomorrow."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.registry.publication import list_published
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.cli.command import Home
from nba_ml_tests.sources.importers.conftest import month_of, shipped_month
from nba_ml_tests.sources.importers.exports import LEAGUE_GAME_LOG, as_csv, league_game_log, shipped
from nba_ml_tests.sources.nba_com.server import Api, index_of, schedule_of, serve

pytestmark = pytest.mark.slow

LAST_NIGHT = date(2021, 12, 1)
TONIGHT = LAST_NIGHT + timedelta(days=1)


def test_a_new_users_evening(tmp_path: Path) -> None:
    """Guards against a step that only works on the shipped data, or needs what an earlier one did not make."""
    season = shipped("2021-10", "2021-11", "2021-12")
    export = tmp_path / "season.csv"
    export.write_text(as_csv(LEAGUE_GAME_LOG, league_game_log(r for r in season if r["game_date"] < LAST_NIGHT)))
    played = [row for row in season if row["game_date"] <= LAST_NIGHT]
    with serve(Api(season, schedule_of(season), index_of(played))) as api:
        home = Home(tmp_path / "home", tmp_path / "my-data", settings={"NBA_ML_NBA_API": api.address})

        def nba_ml(*arguments: str) -> str:
            ended = home.run_here(*arguments)
            assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
            return " ".join(ended.stdout.split())

        data = str(home.data)
        nba_ml("import", "nba-api", str(export), "--to", data)
        for month in ("2021-10", "2021-11"):
            assert month_of(home.data, month).equals(shipped_month(month))

        nba_ml("run", "--month", "2021-11")
        [model] = list_published(DirectoryStore(home.root / "artifacts"))
        nba_ml("champion", "promote", model, "--reason", "The first one.")

        nba_ml("fetch", "--from", str(LAST_NIGHT), "--until", str(LAST_NIGHT), "--to", data, "--pause", "0")
        assert month_of(home.data, "2021-12")["game_date"].unique().to_pylist() == [LAST_NIGHT]

        out = tmp_path / "tonight.parquet"
        said = nba_ml("slate", "predict", "--date", str(TONIGHT), "--out", str(out))
        assert f"{model} serves" in said
        tonight = pq.read_table(out)
        games = {(row["team"], row["opponent"]) for row in season if row["game_date"] == TONIGHT}
        assert len(set(tonight["game_id"].to_pylist())) == len(games) / 2
        assert f"of the roster as of {TONIGHT}" in said

        nba_ml("fetch", "--from", str(LAST_NIGHT), "--until", str(TONIGHT), "--to", data, "--pause", "0")
        nba_ml("backfill", "--from", "2021-12", "--to", "2021-12", "--assets", FEATURES)
        graded = nba_ml("slate", "grade", "--month", "2021-12")
        appeared = {row["player_id"] for row in season if row["game_date"] == TONIGHT}
        listed = {int(player) for player in tonight["universal_player_id"].to_pylist()}
        assert "1 dates with a slate" in graded
        assert f" {len(listed & appeared)} " in graded
        assert pc.all(pc.greater(tonight["predicted_points"], 0)).as_py()


FEATURES = "player_game_summary,ml_feature_store_v2,feature_store_snapshot"
