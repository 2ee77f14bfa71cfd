"""Which columns of the box scores each feature is computed from: a test changes each and sees which features move.

The keys (player, date, game, season) select the rows of every feature and are not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping

_MINUTES = ("minutes_played",)
_POINTS = ("points", *_MINUTES)
_PLAYS = ("fg_attempts", "ft_attempts", "turnovers")
_POSSESSIONS = (*_PLAYS, "offensive_rebounds", "team_abbr", "opponent_team_abbr")
_ZONES = ("fg_makes", "fg_attempts", "three_pt_makes", "three_pt_attempts", "opponent_team_abbr", *_MINUTES)

BOX_SCORE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("points_avg_last_5", "points_avg_last_10", "points_avg_season", "points_std_last_10", "recent_trend"), _POINTS
    ),
    "games_in_last_7_days": _MINUTES,
    "fatigue_score": (*_MINUTES, "team_abbr"),
    "shot_zone_mismatch_score": _ZONES,
    "pace_score": _POSSESSIONS,
    "usage_spike_score": (*_PLAYS, *_MINUTES, "team_abbr"),
    "rest_advantage": ("team_abbr", "opponent_team_abbr"),
    "minutes_change": _MINUTES,
    "opponent_def_rating": (*_POSSESSIONS, "points"),
    "opponent_pace": _POSSESSIONS,
    "home_away": ("is_home", "neutral_site"),
    "back_to_back": ("team_abbr",),
    "playoff_game": ("playoffs",),
    "pct_three": ("fg_attempts", "three_pt_attempts", *_MINUTES),
    "pct_free_throw": ("ft_makes", *_POINTS),
    "team_pace": _POSSESSIONS,
    "team_off_rating": (*_POSSESSIONS, "points"),
    "team_win_pct": ("team_won", "team_abbr"),
    "avg_points_vs_opponent": (*_POINTS, "opponent_team_abbr"),
    "games_vs_opponent": (*_MINUTES, "opponent_team_abbr"),
    "minutes_avg_last_10": _MINUTES,
    "ppm_avg_last_10": _POINTS,
    "points_ewm_12": _POINTS,
    "plays_ewm_3": (*_PLAYS, *_MINUTES),
    "minutes_ewm_1": _MINUTES,
    "minutes_share_ewm_3": (*_MINUTES, "team_abbr"),
    "absent_points": (*_POINTS, "team_abbr"),
    "absent_plays": (*_PLAYS, *_MINUTES, "team_abbr"),
    "days_since_last_game": _MINUTES,
    "team_games_missed": (*_MINUTES, "team_abbr"),
    "out_points": (*_POINTS, "team_abbr"),
    "out_plays": (*_PLAYS, *_MINUTES, "team_abbr"),
}
"""Feature -> columns of `player_game_summary`. Features of lines, and those that box scores cannot give, have none."""
