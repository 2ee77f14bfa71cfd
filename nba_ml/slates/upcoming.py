"""Feature rows of a date whose games are still to be played, from an embedded source's folder.

Who plays comes from `sources.upcoming`, the rows from `data.upcoming`, the features from the SQL of played games.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.times import REPORT_CUT_OFF
from nba_ml.data.features import compute_features, match_lines
from nba_ml.data.games import SummaryMonth
from nba_ml.data.identities import player_lookup
from nba_ml.data.line_prices import prices_of_lines
from nba_ml.data.reports import InjuryReport, TeamTipOffs, cut_off, standing_reports
from nba_ml.data.standing_lines import TipOffs
from nba_ml.data.stored import SUMMARY
from nba_ml.data.tables import PLAYER_GAME_SUMMARY
from nba_ml.data.upcoming import (
    UpcomingGame,
    UpcomingPlayer,
    parse_games,
    recent_players,
    require_one_game_each,
    require_recent,
    upcoming_rows,
    with_lookups,
    with_upcoming,
)
from nba_ml.slates.rows import NEAR, StoredSlateRows, Upcoming, slate_rows, with_tip_offs
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml.sources.upcoming import SCHEDULE, UpcomingTables, players_out

_YEARS = 3
"""How far back a feature looks."""


class EmbeddedSlateRows(StoredSlateRows):
    """The stored rows; for a date without results, rows made from the folder's schedule, rosters and injury reports."""

    def __init__(
        self, root: str, data: Path, threads: int | None = None, report_cut_off: timedelta = REPORT_CUT_OFF
    ) -> None:
        super().__init__(root)
        self.data = data
        self.source = EmbeddedFeatureSource(str(data), report_cut_off)
        self.tables = UpcomingTables(data)
        self.threads = threads

    def days_near(self, day: date) -> list[date]:
        scheduled = (each for each in self.tables.scheduled_days() if abs(each - day) <= NEAR)
        return sorted({*super().days_near(day), *scheduled})

    def upcoming(self, day: date, games: str = "", version: FeatureVersion = V2_33FEATURES) -> Upcoming:
        history = self._history(day)
        last = pc.max(history["game_date"]).as_py()
        if last is None:
            raise SlateError(f"There are no box scores before {day} in {self.data}. Import some, then try again.")
        listed = self.source.unplayed(day)
        if last >= day:
            raise self._played(history, day, last, listed[0])
        found = self._games(day, games, listed[0])
        require_recent(last, day)
        players, notes = self._players(day, found, listed[1], history)
        team_tip_offs = {(day, team): game.tip_off for game in found for team in game.teams if game.tip_off is not None}
        injuries = self._injuries(day, players)
        players, of_injuries = self._without_absent(players, injuries, team_tip_offs, day)
        reports = standing_reports(injuries, history, team_tip_offs, self.source.report_cut_off).table
        rows = upcoming_rows(found, players)
        summary = with_upcoming(history, rows)
        lines = self.source.priced_lines(season.month_of(day), _tip_offs_of(players, team_tip_offs, day))
        features = compute_features(
            summary,
            lines,
            day,
            day,
            computed_at=datetime.now(UTC),
            version=version,
            reports=reports,
            threads=self.threads,
        )
        where = "named by --games" if games else "scheduled"
        counts = f"{len(found)} games {where}, {rows.num_rows} players, box scores up to {last}"
        tip_offs = {game.platform_id: game.tip_off for game in found}
        made = slate_rows(features, version)
        at = version.names.index("vegas_points_line")
        chosen = {
            (player, day): vector[at]
            for player, vector in zip(*(made[n].to_pylist() for n in ("universal_player_id", "features")), strict=True)
        }
        of_day = lines.filter(pc.equal(lines["game_date"], pa.scalar(day, pa.date32())))
        known = prices_of_lines(match_lines(summary, of_day, day, day), of_day, chosen) if len(of_day) else {}
        prices = {player: both for (player, _), both in known.items()}
        return Upcoming(with_tip_offs(made, tip_offs, prices), (counts, *notes, *of_injuries))

    def _played(self, history: pa.Table, day: date, last: date, listed: list[UpcomingGame]) -> SlateError:
        month = season.month_of(day)
        teams = set(
            history.filter(pc.equal(history["game_date"], pa.scalar(day, pa.date32())))["team_abbr"].to_pylist()
        )
        if not teams:
            return SlateError(
                f"No game was played on {day}: the box scores go on to {last} and have none of it. Choose another date."
            )
        waiting = [f"{game.away}@{game.home}" for game in self.tables.games(day) or listed if game.home not in teams]
        left_out = f" That leaves out {', '.join(waiting)}, without a result yet: predict a date before its first game."
        return SlateError(
            f"There are no feature rows of {day}, which has results already. To replay it, run `nba-ml backfill "
            f"--from {month} --to {month} --assets player_game_summary,ml_feature_store_v2`, then try again."
            + (left_out if waiting else "")
        )

    def _games(self, day: date, games: str, listed: list[UpcomingGame]) -> tuple[UpcomingGame, ...]:
        found = tuple(self.tables.games(day) or listed)
        if games:
            scheduled = {(game.away, game.home): game for game in found}
            return tuple(scheduled.get((game.away, game.home), game) for game in parse_games(games, day))
        if not found:
            raise SlateError(
                f"There are no feature rows of {day}, and {self.data / SCHEDULE} has no game of that date. Add its "
                f"games to the schedule, or name them: `nba-ml slate predict --date {day} --games BOS@NYK,LAL@DEN` "
                "(away@home)."
            )
        require_one_game_each(found, day)
        return found

    def _players(
        self, day: date, games: tuple[UpcomingGame, ...], listed: list[tuple[int, str, str]], history: pa.Table
    ) -> tuple[list[UpcomingPlayer], list[str]]:
        """Who may play, and how that is known: for each team, the first source that lists it."""
        teams = {team: game for game in games for team in (game.away, game.home)}
        known = self.source.lookups(season.month_of(day))
        roster = self.tables.roster(day)
        sources = {"listed in the box scores without a result": with_lookups(listed, known)}
        if roster is not None:
            sources[f"of the roster as of {roster.as_of}"] = with_lookups(roster.players, known)
        players: list[UpcomingPlayer] = []
        notes: list[str] = []
        left = set(teams)
        for name, candidates in sources.items():
            found = [player for player in candidates if player.team in left]
            players += found
            left -= {player.team for player in found}
            notes += [f"players {name}"] if found else []
        players += [player for team in sorted(left) for player in recent_players(history, team)]
        if left:
            of = f" of {', '.join(sorted(left))}" if len(left) < len(teams) else ""
            notes.append(f"players{of} of their team's last ten games, because no roster lists them")
        return players, notes

    def _injuries(self, day: date, players: Sequence[UpcomingPlayer]) -> list[InjuryReport]:
        """The date's reports. A roster knows a player's team before his first box score for it."""
        teams: dict[int | None, str] = {player.player_id: player.team for player in players}
        return [replace(each, team=each.team or teams.get(each.player_id)) for each in self.tables.injuries(day)]

    def _without_absent(
        self, players: list[UpcomingPlayer], injuries: list[InjuryReport], tip_offs: TeamTipOffs, day: date
    ) -> tuple[list[UpcomingPlayer], list[str]]:
        until: dict[int | None, datetime] = {
            player.player_id: cut_off(day, tip_offs.get((day, player.team)), self.source.report_cut_off)
            for player in players
        }
        absent, unknown = players_out(injuries, until)
        notes = [f"{len(absent)} players out by the injury reports"] if absent else []
        if unknown:
            notes.append(f"statuses that are unknown, whose players are not left out: {', '.join(unknown)}")
        return [player for player in players if player.player_id not in absent], notes

    def _history(self, day: date) -> pa.Table:
        """Box scores of the features' years. The season's are those that the files have now."""
        first = season.month_of(day.replace(year=day.year - _YEARS, day=1))
        opening = season.month_of(season.season_on(day).opening)
        months = [month for month in source_months(self.data) if first <= month <= season.month_of(day)]
        tables = [self._month_of_summary(month, of_season=month >= opening) for month in months]
        return pa.concat_tables([PLAYER_GAME_SUMMARY.empty_table(), *tables])

    def _month_of_summary(self, month: str, *, of_season: bool) -> pa.Table:
        """The stored month, which is read in a tenth of the time; of the season, only if it is of the file as it is."""
        value = self._store.load(SUMMARY, month)
        stored = value.source if isinstance(value, SummaryMonth) else ""
        if value is None or (of_season and stored != self.source.fingerprint(month)):
            return self.source.player_game_summary(month).table
        return value.table


def _tip_offs_of(players: Sequence[UpcomingPlayer], tip_offs: TeamTipOffs, day: date) -> TipOffs:
    """The known tip-offs of the date's games by player id and by name."""
    known = [(player, tip_offs[day, player.team]) for player in players if (day, player.team) in tip_offs]
    return {(day, key): began for player, began in known for key in (player.player_id, player_lookup(player.name))}
