"""Reports of who plays on a date, as they stood at the cut-off of each game: what is known of it, and no later word."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.times import eastern_noon
from nba_ml.data.upcoming import is_out

REPORTS = pa.schema(
    [
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("team_abbr", pa.string(), nullable=False),
        pa.field("player_lookup", pa.string()),
        pa.field("is_out", pa.bool_(), nullable=False),
        pa.field("reported_at", pa.timestamp("us", tz="UTC")),
        pa.field("counts_until", pa.timestamp("us", tz="UTC")),
        pa.field("tip_off", pa.timestamp("us", tz="UTC")),
    ]
)
"""What features may know: key (player_lookup, game_date). A row without a player says that the team was reported on.
`tip_off` is null if it is unknown. The three times are null where box scores stand in for the reports of past seasons
(`features.inactive_lists`)."""

NO_REPORTS = REPORTS.empty_table()

LISTED = pa.schema(
    [
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("player_id", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""Players whom a box score lists without minutes, and why: 'did_not_play' is the coach's decision."""

TeamTipOffs = Mapping[tuple[date, str], datetime]
"""(Date, team) -> tip-off in UTC."""


@dataclass(frozen=True, slots=True)
class InjuryReport:
    """A player's status for a game, as reported at a moment. Without a player, a report that a team has nobody to name.

    `team` is a code of nba.com; None if the source does not name it.
    """

    player_id: int | None
    status: str
    reported_at: datetime
    day: date
    team: str | None = None


@dataclass(frozen=True, slots=True)
class StandingReports:
    """Reports in `REPORTS`, and the numbers of those left out: made after the cut-off, or of an unknown team."""

    table: pa.Table
    late: int = 0
    of_no_team: int = 0


def cut_off(day: date, tip_off: datetime | None, before: timedelta) -> datetime:
    """Reports from this moment on do not count: so long before tip-off, or noon Eastern if that is unknown."""
    return eastern_noon(day) if tip_off is None else tip_off - before


def standing_reports(
    reports: Sequence[InjuryReport], summary: pa.Table, tip_offs: TeamTipOffs, before: timedelta
) -> StandingReports:
    """Each player's last report before the cut-off of his game.

    Args:
        reports: oldest first.
        summary: box scores, schema `tables.PLAYER_GAME_SUMMARY`. A player whose report names no team is of the team of
            his latest box score before the date.
        tip_offs: as far as they are known.
        before: tip-off, the cut-off.
    """
    appearances = _appearances(summary, {each.player_id for each in reports})
    players: dict[tuple[date, str], dict[str, object]] = {}
    teams: dict[tuple[date, str], dict[str, object]] = {}
    late = of_no_team = 0
    for each in reports:
        lookup, team = _known_as(appearances.get(each.player_id, []), each.day)
        team = each.team or team
        tip_off = tip_offs.get((each.day, team or ""))
        if team is None:
            of_no_team += 1
        elif each.reported_at >= (until := cut_off(each.day, tip_off, before)):
            late += 1
        else:
            row = {"game_date": each.day, "team_abbr": team}
            row |= {"reported_at": each.reported_at, "counts_until": until, "tip_off": tip_off}
            teams[each.day, team] = {**row, "player_lookup": None, "is_out": False}
            if lookup is not None:
                players[each.day, lookup] = {**row, "player_lookup": lookup, "is_out": bool(is_out(each.status))}
    rows = [*teams.values(), *players.values()]
    order = [(name, "ascending") for name in ("game_date", "team_abbr", "player_lookup")]
    return StandingReports(pa.Table.from_pylist(rows, REPORTS).sort_by(order), late, of_no_team)


def _appearances(summary: pa.Table, players: set[int | None]) -> dict[int | None, list[tuple[date, str, str]]]:
    """Player id -> date, lookup and team of each of his box scores, oldest first."""
    ids = pa.array([str(player) for player in players if player is not None], pa.string())
    rows = summary.filter(pc.is_in(summary["universal_player_id"], ids)).sort_by("game_date")
    names = ("universal_player_id", "game_date", "player_lookup", "team_abbr")
    found: dict[int | None, list[tuple[date, str, str]]] = {}
    for player, *rest in zip(*(rows[name].to_pylist() for name in names), strict=True):
        found.setdefault(int(player), []).append((rest[0], rest[1], rest[2]))
    return found


def _known_as(appearances: list[tuple[date, str, str]], day: date) -> tuple[str | None, str | None]:
    """Lookup and team of a player's latest box score before a date."""
    before = appearances[: bisect_left(appearances, day, key=lambda each: each[0])]
    return (before[-1][1], before[-1][2]) if before else (None, None)
