"""Features that were tried for the second version and are not in it, in pandas: games strictly before the date.

`accuracy_features.py` measures what each group adds.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

GROUPS = {
    "scoring": ("points_ewm_5", "points_ewm_30", "ppm_ewm_50", "points_median_10"),
    "volume": ("plays_ewm_10", "fga_ewm_5", "usage_ewm_10", "plays_share_ewm_10"),
    "minutes": ("minutes_ewm_8", "minutes_last", "minutes_std_10"),
    "role": ("points_share_ewm_10", "games_with_team", "share_of_games"),
    "matchup": ("allowed_over_expected_25", "expected_pace", "team_margin_10", "strength_difference"),
    "last season": ("points_last_season", "minutes_last_season"),
}
"""Group -> features."""

_WEIGHTED = {
    "points_ewm_5": ("points", 5),
    "points_ewm_12": ("points", 12),
    "points_ewm_30": ("points", 30),
    "points_50": ("points", 50),
    "minutes_50": ("minutes_played", 50),
    "plays_ewm_10": ("plays", 10),
    "fga_ewm_5": ("fg_attempts", 5),
    "usage_ewm_10": ("usage", 10),
    "plays_share_ewm_10": ("plays_share", 10),
    "minutes_ewm_8": ("minutes_played", 8),
    "points_share_ewm_10": ("points_share", 10),
}
"""Feature -> the column of a game and its half-life in games."""


def candidates(summary: pa.Table) -> pd.DataFrame:
    """All candidates of every row of `tables.PLAYER_GAME_SUMMARY`, with player_lookup and game_date."""
    rows = summary.to_pandas(date_as_object=False).sort_values(["game_date", "player_lookup"], ignore_index=True)
    rows["plays"] = rows.fg_attempts + 0.44 * rows.ft_attempts + rows.turnovers
    side = rows.groupby(["game_id", "team_abbr"])[["plays", "points", "minutes_played"]].transform("sum")
    rows["plays_share"], rows["points_share"] = rows.plays / side.plays, rows.points / side.points
    rows["usage"] = 20 * rows.plays_share * side.minutes_played / rows.minutes_played.where(rows.minutes_played > 0)
    teams = _teams(rows)
    table = rows[["player_lookup", "game_date", "season", "team_abbr", "opponent_team_abbr"]]
    table = pd.merge_asof(
        table, _careers(rows), on="game_date", by="player_lookup", allow_exact_matches=False, direction="backward"
    )
    table["ppm_ewm_50"] = table.points_50 / table.minutes_50
    played = (rows.minutes_played > 0).astype(int)
    with_team = played.groupby([rows.player_lookup, rows.team_abbr]).cumsum() - played
    table["games_with_team"] = with_team.clip(upper=100)
    of_season = played.groupby([rows.player_lookup, rows.season, rows.team_abbr]).cumsum() - played
    table = table.merge(_allowed(rows, table), on=["opponent_team_abbr", "game_date"], how="left")
    table = table.merge(teams, on=["team_abbr", "game_date"], how="left").merge(
        teams.drop(columns="team_games").add_prefix("opponent_"),
        left_on=["opponent_team_abbr", "game_date"],
        right_on=["opponent_team_abbr", "opponent_game_date"],
        how="left",
    )
    table["share_of_games"] = of_season / table.team_games.where(table.team_games > 0)
    table["expected_pace"] = (table.team_plays_10 + table.opponent_team_plays_10) / 2
    table["strength_difference"] = table.team_margin_10 - table.opponent_team_margin_10
    return table.merge(_last_season(rows), on=["player_lookup", "season"], how="left")[
        ["player_lookup", "game_date", *(name for names in GROUPS.values() for name in names)]
    ]


def _careers(rows: pd.DataFrame) -> pd.DataFrame:
    """The state of a player after each of his games."""
    played = rows[rows.minutes_played > 0]
    by_player = played.groupby("player_lookup")
    states = {
        name: by_player[column].ewm(halflife=half_life).mean().droplevel(0)
        for name, (column, half_life) in _WEIGHTED.items()
    }
    states["points_median_10"] = by_player["points"].rolling(10, min_periods=1).median().droplevel(0)
    states["minutes_std_10"] = by_player["minutes_played"].rolling(10, min_periods=2).std().droplevel(0)
    states["minutes_last"] = played["minutes_played"].astype(float)
    return played[["player_lookup", "game_date"]].join(pd.DataFrame(states)).sort_values("game_date")


def _teams(rows: pd.DataFrame) -> pd.DataFrame:
    """Per team and date, before the game: games of the season, plays of both sides and margin, last ten."""
    games = rows.groupby(["season", "game_date", "game_id", "team_abbr", "opponent_team_abbr"], as_index=False)[
        ["points", "plays"]
    ].sum()
    other = games.rename(columns={"team_abbr": "opponent_team_abbr", "opponent_team_abbr": "team_abbr"})
    games = games.merge(other, on=["season", "game_date", "game_id", "team_abbr", "opponent_team_abbr"])
    games = games.sort_values("game_date", ignore_index=True)
    games["margin"], games["both"] = games.points_x - games.points_y, games.plays_x + games.plays_y
    by_team = games.groupby(["season", "team_abbr"])
    return games[["team_abbr", "game_date"]].assign(
        team_games=by_team.cumcount(),
        team_margin_10=by_team["margin"].transform(lambda values: values.shift().ewm(halflife=10).mean()),
        team_plays_10=by_team["both"].transform(lambda values: values.shift().rolling(10, min_periods=1).mean()),
    )


def _allowed(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Per defending team and date, before the game: points allowed over what was expected, half-life 25 games."""
    over = (rows.points - table.points_ewm_12).rename("over")
    games = over.groupby([rows.opponent_team_abbr, rows.game_date]).sum().reset_index().sort_values("game_date")
    games["allowed_over_expected_25"] = games.groupby("opponent_team_abbr")["over"].transform(
        lambda values: values.shift().ewm(halflife=25).mean()
    )
    return games.drop(columns="over")


def _last_season(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of a player's season, under the name of the season after it."""
    means = rows[rows.minutes_played > 0].groupby(["player_lookup", "season"])[["points", "minutes_played"]].mean()
    means = means.set_axis(["points_last_season", "minutes_last_season"], axis=1).reset_index()
    first = means.season.str[:4].astype(int) + 1
    return means.assign(season=[f"{year}-{(year + 1) % 100:02d}" for year in first])
