"""A slow, plain reference of all features: lists, loops and exact fractions.

It shares nothing with the implementation but the contract's names. For one player and date it is
handed a `Past`: the games strictly before the date, cut off before any feature is computed, so that
it cannot see later ones. Season windows, days and thresholds are written as the contract says them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from statistics import median
from typing import NamedTuple, TypeVar

import pyarrow as pa

from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.data.reports import LISTED

NAN = math.nan
NO_LISTS = LISTED.empty_table()
_Entry = TypeVar("_Entry")


class BoxScore(NamedTuple):
    """One player's row of a game."""

    player_lookup: str
    universal_player_id: str
    game_date: date
    game_id: str
    season: str
    playoffs: bool
    team_abbr: str
    opponent_team_abbr: str
    is_home: bool
    neutral_site: bool
    team_won: bool
    minutes_played: int
    points: int
    fg_makes: int
    fg_attempts: int
    three_pt_makes: int
    three_pt_attempts: int
    ft_makes: int
    ft_attempts: int
    offensive_rebounds: int
    turnovers: int

    @property
    def plays(self) -> Fraction:
        """Plays that the player ended."""
        return self.fg_attempts + Fraction(44, 100) * self.ft_attempts + self.turnovers


@dataclass(frozen=True)
class TeamGame:
    """A team's game, with the other side's rows."""

    game_date: date
    won: bool
    own: Sequence[BoxScore]
    other: Sequence[BoxScore]

    @property
    def possessions(self) -> Fraction:
        """Of the game: the mean of the two teams'."""
        return sum((row.plays - row.offensive_rebounds for row in (*self.own, *self.other)), start=Fraction(0)) / 2


@dataclass(frozen=True)
class Past:
    """What was known before the date: games before it, and nothing of that date or later."""

    player_games: Sequence[BoxScore]
    """All rows of the player, any season, oldest first."""
    mates: Mapping[str, Sequence[BoxScore]]
    """The rows of the player's own side in each of those games, by game_id."""
    team_games: Sequence[TeamGame]
    """The team's games of the season, oldest first."""
    opponent_games: Sequence[TeamGame]
    season_shots: Sequence[tuple[int, int, int, int]]
    """Per game of the season: two-point makes and attempts, three-point makes and attempts, both teams."""
    teammates: Mapping[str, Sequence[BoxScore]]
    """All rows, any season, of everyone with a row in the team's last ten games of the season, by player."""


@dataclass(frozen=True)
class Fixture:
    """What is known of the game itself before tip-off."""

    game_date: date
    season: str
    opponent: str
    at_home: bool
    playoffs: bool
    listed: Sequence[tuple[str, float]]
    """Lines of the date: (book, line)."""
    out: frozenset[str] | None
    """Who of the team was on its inactive list; None if there is none of the date."""


class Listed(NamedTuple):
    """A line as a book lists it."""

    universal_player_id: str | None
    player_lookup: str
    game_date: date
    book: str
    line: float


class Games:
    """An index over all games; `before` cuts it at a date."""

    def __init__(self, summary: pa.Table, lines: pa.Table, without_minutes: pa.Table = NO_LISTS) -> None:
        columns = [summary[name].to_pylist() for name in BoxScore._fields]
        self.rows = sorted(map(BoxScore, *columns), key=lambda row: (row.game_date, row.player_lookup))
        self.row = {(row.player_lookup, row.game_date): row for row in self.rows}
        self._of_player: dict[str, list[BoxScore]] = defaultdict(list)
        self._sides: dict[tuple[str, str], list[BoxScore]] = defaultdict(list)
        for row in self.rows:
            self._of_player[row.player_lookup].append(row)
            self._sides[row.game_id, row.team_abbr].append(row)
        self._of_team: dict[tuple[str, str], list[TeamGame]] = defaultdict(list)
        self._shots: dict[str, list[tuple[date, tuple[int, int, int, int]]]] = defaultdict(list)
        for (game_id, team), own in self._sides.items():  # in order of dates, as the rows are
            one = own[0]
            other = self._sides[game_id, one.opponent_team_abbr]
            self._of_team[one.season, team].append(TeamGame(one.game_date, one.team_won, own, other))
            self._shots[one.season].append((one.game_date, _zone_totals(own)))
        self._listed: dict[tuple[str, date], list[tuple[str, float]]] = defaultdict(list)
        self._bearers: dict[str, list[BoxScore]] = defaultdict(list)
        for row in self.rows:
            self._bearers[row.player_lookup].append(row)
        for listed in map(Listed, *(lines[name].to_pylist() for name in Listed._fields)):
            player = self.player_of(listed)
            if player is not None:
                self._listed[player, listed.game_date].append((listed.book, listed.line))

        entries = zip(*(without_minutes[name].to_pylist() for name in without_minutes.column_names), strict=True)
        self._without_minutes: dict[date, set[tuple[str, str]]] = defaultdict(set)
        for day, player, reason in entries:
            self._without_minutes[day].add((str(player), reason))

    def inactive(self, row: BoxScore) -> frozenset[str] | None:
        """Who of the row's team was on its inactive list that day; None if the day has no lists.

        Whose latest game of the season was one of the team's last ten, and who neither appeared on the day nor was kept
        on the bench by the coach.
        """
        day = row.game_date
        if day not in self._without_minutes:
            return None
        recent = _earlier(self._of_team[row.season, row.team_abbr], day, lambda game: game.game_date)[-10:]
        benched = {player for player, reason in self._without_minutes[day] if reason == "did_not_play"}
        out = set()
        for mate in {mate for game in recent for mate in game.own}:
            earlier = _earlier(self._of_player[mate.player_lookup], day, lambda game: game.game_date)
            here = (mate.player_lookup, day) in self.row or mate.universal_player_id in benched
            if not here and any(earlier[-1] in game.own for game in recent):
                out.add(mate.player_lookup)
        return frozenset(out)

    def player_of(self, listed: Listed) -> str | None:
        """The id of the player whose line it is, whether he appeared or not; None if nothing says so for certain."""
        if listed.universal_player_id is not None:
            return listed.universal_player_id
        day = listed.game_date
        bearers = {
            row.universal_player_id
            for row in self._bearers[listed.player_lookup]
            if three_years_before(day) <= row.game_date <= day
        }
        return bearers.pop() if len(bearers) == 1 else None

    def before(self, player: str, day: date) -> tuple[Fixture, Past]:
        """The fixture of a player's row, and the games strictly before it."""
        row = self.row[player, day]
        player_games = _earlier(self._of_player[player], day, lambda game: game.game_date)
        past = Past(
            player_games,
            {game.game_id: self._sides[game.game_id, game.team_abbr] for game in player_games},
            _earlier(self._of_team[row.season, row.team_abbr], day, lambda game: game.game_date),
            _earlier(self._of_team[row.season, row.opponent_team_abbr], day, lambda game: game.game_date),
            [shots for _, shots in _earlier(self._shots[row.season], day, lambda entry: entry[0])],
            {
                mate.player_lookup: _earlier(self._of_player[mate.player_lookup], day, lambda game: game.game_date)
                for game in _earlier(self._of_team[row.season, row.team_abbr], day, lambda game: game.game_date)[-10:]
                for mate in game.own
            },
        )
        fixture = Fixture(
            day,
            row.season,
            row.opponent_team_abbr,
            row.is_home and not row.neutral_site,
            row.playoffs,
            self._listed.get((row.universal_player_id, day), []),
            self.inactive(row),
        )
        return fixture, past

    def reference(self, player: str, day: date, version: FeatureVersion = V2_33FEATURES) -> list[float]:
        """The values of a player's row, in the contract's order."""
        fixture, past = self.before(player, day)
        values = features(fixture, past) | career_features(player, fixture, past)
        return [values[name] for name in version.names]


def career_features(player: str, fixture: Fixture, past: Past) -> dict[str, float]:
    """The features across seasons by name; knows nothing but its arguments."""
    career = career_of(past.player_games, fixture)
    if career:
        last = career[-1].game_date
        missed = float(sum(game.game_date > last for game in past.team_games))
        days = float(min(60, (fixture.game_date - last).days))
    else:
        missed = days = NAN
    absent = rotation(player, fixture, past, past.team_games[-10:-1])
    out = rotation(player, fixture, past, past.team_games[-10:], fixture.out or frozenset())
    reported = past if fixture.out is not None else replace(past, team_games=())
    return {
        "points_ewm_12": weighted([game.points for game in career], 12),
        "plays_ewm_3": weighted([game.plays for game in career], 3),
        "minutes_ewm_1": weighted([game.minutes_played for game in career], 1),
        "minutes_share_ewm_3": weighted(
            [
                Fraction(game.minutes_played, sum(mate.minutes_played for mate in past.mates[game.game_id]))
                for game in career
            ],
            3,
        ),
        "absent_points": total([weighted([game.points for game in each], 12) for each in absent], past),
        "absent_plays": total([weighted([game.plays for game in each], 3) for each in absent], past),
        "days_since_last_game": days,
        "team_games_missed": missed,
        "out_points": total([weighted([game.points for game in each], 12) for each in out], reported),
        "out_plays": total([weighted([game.plays for game in each], 3) for each in out], reported),
    }


def career_of(games: Sequence[BoxScore], fixture: Fixture) -> list[BoxScore]:
    """The last 64 games that the player played in the fixture's season and the one before."""
    seasons = {fixture.season, f"{int(fixture.season[:4]) - 1}-{fixture.season[2:4]}"}
    return [game for game in games if game.minutes_played > 0 and game.season in seasons][-64:]


def rotation(
    player: str,
    fixture: Fixture,
    past: Past,
    team_games: Sequence[TeamGame],
    among: frozenset[str] | None = None,
) -> list[list[BoxScore]]:
    """The careers of the player's teammates whose last game, for any team, was one of the team's games that are given.

    Those of whom 12 minutes or more are expected. `among`: only of these players.
    """
    careers = [
        career_of(games, fixture)
        for mate, games in past.teammates.items()
        if mate != player and (among is None or mate in among)
    ]
    return [
        career
        for career in careers
        if career
        and career[-1].season == fixture.season
        and any(career[-1] in game.own for game in team_games)
        and round(weighted([game.minutes_played for game in career], 8), 6) >= 12
    ]


def total(expected: Sequence[float], past: Past) -> float:
    """Sum of features, each rounded as a feature is; NaN before the team's first game of the season."""
    return sum(round(each, 6) for each in expected) if past.team_games else NAN


def weighted(values: Sequence[int | Fraction], half_life: int) -> float:
    """Mean whose weights halve every so many games back from the newest; NaN without games."""
    weights = [0.5 ** (games_ago / half_life) for games_ago in range(len(values))]
    total = sum(weight * float(value) for weight, value in zip(weights, reversed(values), strict=True))
    return total / sum(weights) if values else NAN


def features(fixture: Fixture, past: Past) -> dict[str, float]:
    """All features of the first version by name; knows nothing but its two arguments."""
    day = fixture.game_date
    played = [game for game in past.player_games if game.minutes_played > 0]
    season = [game for game in played if game.season == fixture.season]

    last_5, last_10 = season[-5:], season[-10:]
    month = [game for game in played if day - timedelta(days=30) <= game.game_date]
    met = [
        game
        for game in played
        if game.opponent_team_abbr == fixture.opponent and game.game_date >= three_years_before(day)
    ]
    rest = days_of_rest(day, season)
    team_rest = days_of_rest(day, past.team_games)
    opponent_rest = days_of_rest(day, past.opponent_games)
    team_pace = pace(past.team_games[-10:])
    opponent_pace = pace(past.opponent_games[-15:])
    pct_three = share((g.three_pt_attempts for g in last_10), (g.fg_attempts for g in last_10))
    line = points_line(fixture.listed)

    return {
        "points_avg_last_5": mean([g.points for g in last_5]),
        "points_avg_last_10": mean([g.points for g in last_10]),
        "points_avg_season": mean([g.points for g in season]),
        "points_std_last_10": sample_deviation([g.points for g in last_10]),
        "games_in_last_7_days": len(games_of_days(day, 7, played)),
        "fatigue_score": fatigue(day, rest, played),
        "shot_zone_mismatch_score": zone_mismatch(pct_three, past),
        "pace_score": clamped((opponent_pace - team_pace) / 2, 3),
        "usage_spike_score": usage_spike([usage(game, past.mates[game.game_id]) for game in season[-7:]]),
        "rest_advantage": clamped(
            (7 if team_rest is None else team_rest) - (7 if opponent_rest is None else opponent_rest), 2
        ),
        "injury_risk": NAN,
        "recent_trend": trend([g.points for g in last_5]),
        "minutes_change": minutes_change(season),
        "opponent_def_rating": rating(past.opponent_games[-15:], lambda game: game.other),
        "opponent_pace": opponent_pace,
        "home_away": float(fixture.at_home),
        "back_to_back": float(team_rest == 0),
        "playoff_game": float(fixture.playoffs),
        "pct_paint": NAN,
        "pct_mid_range": NAN,
        "pct_three": pct_three,
        "pct_free_throw": share((g.ft_makes for g in last_10), (g.points for g in last_10)),
        "team_pace": team_pace,
        "team_off_rating": rating(past.team_games[-10:], lambda game: game.own),
        "team_win_pct": mean([int(game.won) for game in past.team_games]),
        "vegas_points_line": line,
        "vegas_opening_line": NAN,
        "vegas_line_move": NAN,
        "has_vegas_line": float(not math.isnan(line)),
        "avg_points_vs_opponent": mean([g.points for g in met]),
        "games_vs_opponent": len(met),
        "minutes_avg_last_10": mean([g.minutes_played for g in month]),
        "ppm_avg_last_10": share((g.points for g in month), (g.minutes_played for g in month)),
    }


def days_of_rest(day: date, earlier: Sequence[BoxScore] | Sequence[TeamGame]) -> int | None:
    """Free days since the last game; None without one."""
    return (day - earlier[-1].game_date).days - 1 if earlier else None


def fatigue(day: date, rest: int | None, played: Sequence[BoxScore]) -> float:
    week = games_of_days(day, 7, played)
    minutes = sum(game.minutes_played for game in week)
    score = 100
    if rest == 0:
        score -= 15
    elif rest is None or rest >= 3:
        score += 5
    if len(week) >= 4:
        score -= 10
    if minutes > 240:
        score -= 10
    if week and Fraction(minutes, len(week)) > 35:
        score -= 8
    dates = {game.game_date for game in played}
    pairs = sum(game.game_date - timedelta(days=1) in dates for game in games_of_days(day, 14, played))
    score -= 0 if pairs == 0 else 5 if pairs == 1 else 12
    return float(min(max(score, 0), 100))


def zone_mismatch(pct_three: float, past: Past) -> float:
    if math.isnan(pct_three) or not past.opponent_games or not past.season_shots:
        return NAN
    zone = 2 if pct_three > 0.5 else 0  # position of makes; attempts follow
    allowed = [_zone_totals(game.other) for game in past.opponent_games[-15:]]
    opponent = share((game[zone] for game in allowed), (game[zone + 1] for game in allowed))
    league = share((game[zone] for game in past.season_shots), (game[zone + 1] for game in past.season_shots))
    difference = 100 * (opponent - league)
    if abs(difference) <= 5:
        return difference
    return 1.2 * clamped(difference, 10)


def usage(game: BoxScore, mates: Sequence[BoxScore]) -> Fraction:
    """Percent of the team's plays that the player ended while he was on the floor."""
    team_minutes = sum(mate.minutes_played for mate in mates)
    team_plays = sum((mate.plays for mate in mates), start=Fraction(0))
    return 100 * game.plays * Fraction(team_minutes, 5) / (game.minutes_played * team_plays)


def usage_spike(usages: Sequence[Fraction]) -> float:
    if len(usages) < 3:
        return NAN
    return clamped(0.3 * (mean(usages[-3:]) - mean(usages)), 3)


def trend(points: Sequence[int]) -> float:
    if len(points) < 5:
        return 0.0
    difference = Fraction(sum(points[3:]), 2) - Fraction(sum(points[:3]), 3)
    return float(difference >= 5) + float(difference >= 2) - float(difference <= -2) - float(difference <= -5)


def minutes_change(season: Sequence[BoxScore]) -> float:
    if not season:
        return 0.0
    minutes = [game.minutes_played for game in season]
    recent = minutes[-10:]
    change = Fraction(sum(recent), len(recent)) / Fraction(sum(minutes), len(minutes)) - 1
    tenth, fifth = Fraction(1, 10), Fraction(1, 5)
    return float(change >= fifth) + float(change >= tenth) - float(change <= -tenth) - float(change <= -fifth)


def pace(games: Sequence[TeamGame]) -> float:
    return mean([game.possessions for game in games])


def rating(games: Sequence[TeamGame], side: Callable[[TeamGame], Sequence[BoxScore]]) -> float:
    """Points of that side per 100 possessions."""
    if not games:
        return NAN
    points = sum(row.points for game in games for row in side(game))
    return float(100 * points / sum(game.possessions for game in games))


def points_line(listed: Sequence[tuple[str, float]]) -> float:
    """Median within each book, then over the books."""
    books = {book for book, _ in listed}
    of_books = [median(line for other, line in listed if other == book) for book in books]
    return median(of_books) if of_books else NAN


def games_of_days(day: date, days: int, played: Sequence[BoxScore]) -> list[BoxScore]:
    return [game for game in played if 1 <= (day - game.game_date).days <= days]


def three_years_before(day: date) -> date:
    if (day.month, day.day) == (2, 29):
        return date(day.year - 3, 2, 28)
    return day.replace(year=day.year - 3)


def mean(values: Sequence[int] | Sequence[Fraction]) -> float:
    return float(Fraction(sum(values)) / len(values)) if values else NAN


def sample_deviation(values: Sequence[int]) -> float:
    if len(values) < 2:
        return NAN
    middle = Fraction(sum(values), len(values))
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))


def share(parts: Iterable[int], wholes: Iterable[int]) -> float:
    whole = sum(wholes)
    return sum(parts) / whole if whole else NAN


def clamped(value: float, bound: float) -> float:
    return value if math.isnan(value) else min(max(value, -bound), bound)


def _zone_totals(rows: Sequence[BoxScore]) -> tuple[int, int, int, int]:
    """Two-point makes and attempts, three-point makes and attempts."""
    threes, three_attempts = sum(r.three_pt_makes for r in rows), sum(r.three_pt_attempts for r in rows)
    makes, attempts = sum(r.fg_makes for r in rows), sum(r.fg_attempts for r in rows)
    return makes - threes, attempts - three_attempts, threes, three_attempts


def _earlier(entries: Sequence[_Entry], day: date, when: Callable[[_Entry], date]) -> Sequence[_Entry]:
    """Those strictly before the day; `entries` are in order of dates."""
    return entries[: bisect_left(entries, day, key=when)]
