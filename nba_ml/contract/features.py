"""The feature contract: names, order, units, ranges and nullability of a feature version.

SQL, checks, training, serving and the docs read them from here only. A feature version is data, so a larger one can be
added next to `v2_33features` under another name. The prediction worker imports this module, so it uses the standard
library only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Feature:
    """One position of the feature vector.

    `definition` covers games strictly before the row's date. `low` and `high` are inclusive bounds. `missing_when` says
    when the value may be NaN; None means never.
    """

    name: str
    group: str
    unit: str
    low: float
    high: float
    missing_when: str | None
    definition: str

    @property
    def nullable(self) -> bool:
        return self.missing_when is not None


@dataclass(frozen=True)
class FeatureVersion:
    """A named, ordered feature vector."""

    name: str
    features: tuple[Feature, ...]

    @cached_property  # asked for several times in each prediction
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def count(self) -> int:
        return len(self.features)

    @property
    def reads_reports(self) -> bool:
        """Whether a feature says who is reported out."""
        return not set(REPORTED).isdisjoint(self.names)

    def index(self, name: str) -> int:
        """Position of a feature in the vector. Raises KeyError if this version has no such feature."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(f"{self.name} has no feature '{name}'") from None

    def __getitem__(self, name: str) -> Feature:
        return self.features[self.index(name)]


_F = Feature

REPORTED = ("out_points", "out_plays")
"""Features that come from reports. A model learns each row with them and without them: it must do without."""

V2_33FEATURES = FeatureVersion(
    name="v2_33features",
    features=(
        _F(
            "points_avg_last_5",
            "form",
            "points",
            0,
            100,
            "first game of the season",
            "mean points of the player's last 5 games of the season",
        ),
        _F(
            "points_avg_last_10",
            "form",
            "points",
            0,
            100,
            "first game of the season",
            "mean points of the player's last 10 games of the season",
        ),
        _F(
            "points_avg_season",
            "form",
            "points",
            0,
            100,
            "first game of the season",
            "mean points of the player's games of the season to date",
        ),
        _F(
            "points_std_last_10",
            "form",
            "points",
            0,
            30,
            "fewer than 2 games",
            "sample standard deviation of points over the last 10 games of the season",
        ),
        _F(
            "games_in_last_7_days",
            "workload",
            "games",
            0,
            5,
            None,
            "games the player played in the 7 days before the date",
        ),
        _F(
            "fatigue_score",
            "workload",
            "score",
            0,
            100,
            None,
            "0 to 100, high is rested. 100; second day of a back-to-back -15, else 3 or more days of rest +5; "
            "4 or more games in 7 days -10; over 240 minutes in 7 days -10; over 35 minutes a game in 7 days -8; "
            "back-to-backs in 14 days: one -5, two or more -12; age 30 or more -5, 35 or more -10 where an age "
            "is known; clamped to 0-100",
        ),
        _F(
            "shot_zone_mismatch_score",
            "matchup",
            "percentage points",
            -15,
            15,
            "no zone data",
            "field goal percentage the opponent allows in the player's main zone (two or three, last 10 games) "
            "over its last 15, minus the league's season to date; positive favours the player; clamped to +-10, "
            "times 1.2 where over 5 in size",
        ),
        _F(
            "pace_score",
            "matchup",
            "possessions",
            -8,
            8,
            "opponent_pace or team_pace is missing",
            "(opponent_pace - team_pace) / 2, clamped to +-3",
        ),
        _F(
            "usage_spike_score",
            "form",
            "score",
            -8,
            8,
            "fewer than 3 games",
            "0.3 x (mean usage of the last 3 games - mean usage of the last 7), usage in percent of the team's "
            "plays while on the floor; clamped to +-3",
        ),
        _F(
            "rest_advantage",
            "matchup",
            "days",
            -3,
            3,
            None,
            "the team's days of rest minus the opponent's, clamped to +-2; a team without an earlier game this season "
            "counts as 7 days rested",
        ),
        _F(
            "injury_risk",
            "status",
            "level",
            0,
            3,
            "no report",
            "0 available, 1 probable, 2 questionable, 3 doubtful or out",
        ),
        _F(
            "recent_trend",
            "form",
            "level",
            -2,
            2,
            None,
            "last 5 games: mean points of the 2 newest minus mean of the 3 before; 5 or more 2, 2 or more 1, "
            "-2 or less -1, -5 or less -2, else 0 (0 with fewer than 5 games)",
        ),
        _F(
            "minutes_change",
            "form",
            "level",
            -2,
            2,
            None,
            "mean minutes of the last 10 games over the season's, minus 1: 20% or more 2, 10% or more 1, -10% or "
            "less -1, -20% or less -2, else 0 (0 before the first game)",
        ),
        _F(
            "opponent_def_rating",
            "opponent",
            "points per 100 possessions",
            80,
            150,
            "opponent's first game of the season",
            "points the opponent allowed per 100 possessions, its last 15 games",
        ),
        _F(
            "opponent_pace",
            "opponent",
            "possessions per game",
            80,
            125,
            "opponent's first game of the season",
            "possessions per game, the opponent's last 15 games",
        ),
        _F("home_away", "game", "0/1", 0, 1, None, "1 at home, 0 away or on a neutral site"),
        _F("back_to_back", "game", "0/1", 0, 1, None, "1 if the team played the day before"),
        _F("playoff_game", "game", "0/1", 0, 1, None, "1 in the playoffs"),
        _F(
            "pct_paint",
            "shot profile",
            "share",
            0,
            1,
            "no zone data",
            "share of the player's shots in the paint, last 10 games",
        ),
        _F(
            "pct_mid_range",
            "shot profile",
            "share",
            0,
            1,
            "no zone data",
            "share of shots from mid range, last 10 games",
        ),
        _F(
            "pct_three",
            "shot profile",
            "share",
            0,
            1,
            "no shot in the last 10 games",
            "share of shots from three, last 10 games",
        ),
        _F(
            "pct_free_throw",
            "shot profile",
            "share",
            0,
            1,
            "no point scored in the last 10 games",
            "share of points from free throws, last 10 games",
        ),
        _F(
            "team_pace",
            "team",
            "possessions per game",
            80,
            125,
            "team's first game of the season",
            "possessions per game, the team's last 10 games",
        ),
        _F(
            "team_off_rating",
            "team",
            "points per 100 possessions",
            80,
            150,
            "team's first game of the season",
            "points the team scored per 100 possessions, its last 10 games",
        ),
        _F(
            "team_win_pct",
            "team",
            "share",
            0,
            1,
            "team's first game of the season",
            "share of the season's games won to date",
        ),
        _F(
            "vegas_points_line",
            "line",
            "points",
            0,
            80,
            "no line",
            "the points line: median within each book, then over the books; last snapshot before tip-off",
        ),
        _F("vegas_opening_line", "line", "points", 0, 80, "no line", "the first line of the day, by the same rule"),
        _F("vegas_line_move", "line", "points", -15, 15, "no line", "vegas_points_line minus vegas_opening_line"),
        _F("has_vegas_line", "line", "0/1", 0, 1, None, "1 if and only if vegas_points_line is there"),
        _F(
            "avg_points_vs_opponent",
            "opponent",
            "points",
            0,
            100,
            "never met in 3 years",
            "mean points of the player against this opponent in the 3 years before the date",
        ),
        _F("games_vs_opponent", "opponent", "games", 0, 100, None, "number of those games"),
        _F(
            "minutes_avg_last_10",
            "workload",
            "minutes",
            0,
            65,
            "no game in 30 days",
            "mean minutes over the 30 days before the date, any season (the name is historical)",
        ),
        _F(
            "ppm_avg_last_10",
            "form",
            "points per minute",
            0,
            10,
            "no game in 30 days",
            "points per minute over the same 30 days, sum over sum",
        ),
    ),
)
"""The platform's version. Positions, definitions and ranges: the platform's feature processors."""

NOT_IN_BOX_SCORES = ("injury_risk", "pct_paint", "pct_mid_range", "vegas_opening_line", "vegas_line_move")
"""NaN in the embedded data, which has no injury reports, shot zones or opening lines."""

_WEIGHTED = "mean over the player's last 64 games of the season and the one before, weights halving every"
_RATED_AFTER_ONE_GAME = {
    "opponent_def_rating": (40, 250),
    "opponent_pace": (50, 200),
    "team_pace": (50, 200),
    "team_off_rating": (40, 250),
}
"""The version below has rows from a season's first days on, when a rating may be that of a single long game."""

V3_FEATURES = FeatureVersion(
    name="v3_41features",
    features=(
        *(
            replace(feature, low=_RATED_AFTER_ONE_GAME[feature.name][0], high=_RATED_AFTER_ONE_GAME[feature.name][1])
            if feature.name in _RATED_AFTER_ONE_GAME
            else feature
            for feature in V2_33FEATURES.features
        ),
        _F("points_ewm_12", "career", "points", 0, 100, "no game this season or last", f"points: {_WEIGHTED} 12 games"),
        _F(
            "plays_ewm_3",
            "career",
            "plays",
            0,
            80,
            "no game this season or last",
            f"plays the player ended (FGA + 0.44 FTA + TOV): {_WEIGHTED} 3 games",
        ),
        _F("minutes_ewm_1", "career", "minutes", 0, 65, "no game this season or last", f"minutes: {_WEIGHTED} game"),
        _F(
            "minutes_share_ewm_3",
            "career",
            "share",
            0,
            1,
            "no game this season or last",
            f"minutes over the sum of the team's minutes: {_WEIGHTED} 3 games",
        ),
        _F(
            "absent_points",
            "absences",
            "points",
            0,
            250,
            "team's first game of the season",
            "sum of points_ewm_12 over the others of the rotation who missed the team's last game: they played in one "
            "of its last 10 games of the season, for no other team since, and 12 minutes or more are expected of them "
            "(minutes weighted as above, halving every 8 games)",
        ),
        _F(
            "absent_plays",
            "absences",
            "plays",
            0,
            250,
            "team's first game of the season",
            "sum of plays_ewm_3 over the same players",
        ),
        _F(
            "days_since_last_game",
            "career",
            "days",
            1,
            60,
            "no game this season or last",
            "days since the player's last game of the season or the one before, at most 60",
        ),
        _F(
            "team_games_missed",
            "career",
            "games",
            0,
            120,
            "no game this season or last",
            "games of the team in the season since the player's last game, for whatever team that was",
        ),
    ),
)
"""Also follows players across seasons. Its rows are never flagged as early season: it is trained on a season's first
days and predicts them."""

_NO_REPORT = "nothing was reported of the team, or team's first game of the season"

V4_FEATURES = FeatureVersion(
    name="v4_43features",
    features=(
        *V3_FEATURES.features,
        _F(
            "out_points",
            "absences",
            "points",
            0,
            250,
            _NO_REPORT,
            "sum of points_ewm_12 over the others of the rotation reported out before the cut-off; 0 if none was. "
            "The rotation is that of absent_points, with those who played in the team's last game",
        ),
        _F("out_plays", "absences", "plays", 0, 250, _NO_REPORT, "sum of plays_ewm_3 over the same players"),
    ),
)
"""Also knows who is reported out on the date. The 41 before are those of `v3_41features`."""

FEATURE_VERSIONS = {version.name: version for version in (V2_33FEATURES, V3_FEATURES, V4_FEATURES)}
"""Name -> version."""
