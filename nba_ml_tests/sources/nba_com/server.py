"""A server on loopback that answers in the format of nba.com's API, with shipped games, and fails as told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from nba_ml_tests.sources.importers.exports import (
    LEAGUE_GAME_LOG,
    PLAYER_GAME_LOGS,
    Row,
    as_result_sets,
    league_game_log,
    player_game_logs,
)

PLAYER_INDEX = ["PERSON_ID", "PLAYER_LAST_NAME", "PLAYER_FIRST_NAME", "TEAM_ID", "TEAM_ABBREVIATION", "ROSTER_STATUS"]
TYPES = {"Regular Season": "2", "Playoffs": "4", "PlayIn": "5", "IST": "6"}

Fault = Callable[["Handler", bytes], None]


@dataclass
class Api:
    """What the server knows, and what it was asked."""

    rows: list[Row]
    """Box scores, as shipped."""
    games: list[Row] = field(default_factory=list)
    """Of the schedule, as the API has them."""
    players: list[Row] = field(default_factory=list)
    """Of PlayerIndex."""
    faults: list[Fault] = field(default_factory=list)
    """What becomes of the next requests, in order; then all is well."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    address: str = ""

    def answer(self, endpoint: str, query: dict[str, str]) -> str:
        if endpoint == "scheduleleaguev2":
            return schedule(query["Season"], self.games)
        if endpoint == "playerindex":
            return as_result_sets("PlayerIndex", PLAYER_INDEX, self.players)
        first, last = (datetime.strptime(query[name], "%m/%d/%Y").date() for name in ("DateFrom", "DateTo"))
        digit = TYPES[query["SeasonType"]]
        rows = [row for row in self.rows if first <= row["game_date"] <= last and row["game_id"][2] == digit]
        rows = [row for row in rows if row["season"] == query["Season"]]
        if endpoint == "playergamelogs":
            return as_result_sets("PlayerGameLogs", PLAYER_GAME_LOGS, player_game_logs(rows))
        assert (endpoint, query["PlayerOrTeam"]) == ("leaguegamelog", "P")
        return as_result_sets("LeagueGameLog", LEAGUE_GAME_LOG, league_game_log(rows))


class Handler(BaseHTTPRequestHandler):
    """A request."""

    protocol_version = "HTTP/1.1"
    api: Api

    def do_GET(self) -> None:
        """Answer as the next fault says, or well."""
        url = urlsplit(self.path)
        endpoint, query = url.path.rsplit("/", 1)[1], dict(parse_qsl(url.query))
        self.api.asked.append((endpoint, query))
        self.api.times.append(time.monotonic())
        fault = self.api.faults.pop(0) if self.api.faults else well
        fault(self, self.api.answer(endpoint, query).encode())

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        """An answer, whose Content-Length may be a lie."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests read `Api.asked`."""


def well(handler: Handler, body: bytes) -> None:
    handler.send(200, body, Content_Type="application/json; charset=utf-8")


def throttled(handler: Handler, _: bytes) -> None:
    handler.send(429, b"Too Many Requests", Retry_After="1")


def unavailable(handler: Handler, _: bytes) -> None:
    handler.send(503, b"<html>Service Unavailable</html>")


def forbidden(handler: Handler, _: bytes) -> None:
    handler.send(403, b"<html>Access Denied</html>")


def a_page(handler: Handler, _: bytes) -> None:
    handler.send(200, b"<!DOCTYPE html><html><title>Maintenance</title></html>", Content_Type="text/html")


def an_error(handler: Handler, _: bytes) -> None:
    handler.send(200, b'{"Message":"An error has occurred."}')


def cut(handler: Handler, body: bytes) -> None:
    """The connection ends within the body."""
    handler.send(200, body[: len(body) // 2], len(body))
    handler.close_connection = True


def cut_and_declared_whole(handler: Handler, body: bytes) -> None:
    """A proxy that gave up, and counted what it had."""
    handler.send(200, body[: len(body) // 2])


def hung_up(handler: Handler, _: bytes) -> None:
    handler.close_connection = True


def silent(handler: Handler, _: bytes) -> None:
    """Longer than a test's timeout."""
    time.sleep(2)
    handler.close_connection = True


def patient(seconds: str) -> Fault:
    """Throttled, for so long."""
    return lambda handler, _: handler.send(429, b"", Retry_After=seconds)


@contextmanager
def serve(api: Api) -> Iterator[Api]:
    """The server, until the end of the block."""
    kind = type("Bound", (Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.address = f"http://127.0.0.1:{server.server_port}/stats"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def game(game_id: str, day: date, away: str | None, home: str | None, tip_off: datetime, **more: Any) -> Row:
    """A game of the schedule."""
    sides = {"awayTeam": away, "homeTeam": home}
    return {
        "gameId": game_id,
        "gameStatus": 1,
        "gameDateEst": f"{day}T00:00:00Z",
        "gameDateTimeUTC": tip_off.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "postponedStatus": "A",
        "isNeutral": False,
        **{side: {"teamId": 1 if team else 0, "teamTricode": team} for side, team in sides.items()},
        **more,
    }


def schedule(season: str, games: Iterable[Row]) -> str:
    """An answer of ScheduleLeagueV2."""
    dates: dict[str, list[Row]] = {}
    for each in games:
        dates.setdefault(each["gameDateEst"], []).append(each)
    listed = [{"gameDate": day, "games": of_day} for day, of_day in dates.items()]
    content = {"seasonYear": season, "leagueId": "00", "gameDates": listed, "weeks": []}
    return json.dumps({"meta": {"version": 1}, "leagueSchedule": content})


def index_of(rows: Iterable[Row]) -> list[Row]:
    """PlayerIndex of those who appear in box scores, with their last team, and of one who is with none."""
    last = {row["player_id"]: row for row in sorted(rows, key=lambda row: row["game_date"])}
    index = []
    for player, row in last.items():
        first, _, rest = row["player_name"].partition(" ")
        name = {"PLAYER_FIRST_NAME": first if rest else None, "PLAYER_LAST_NAME": rest or first}
        index.append({"PERSON_ID": player, "TEAM_ABBREVIATION": row["team"], "ROSTER_STATUS": 1.0, **name})
    retired = {"PERSON_ID": 1, "PLAYER_FIRST_NAME": "Re", "PLAYER_LAST_NAME": "Tired", "TEAM_ABBREVIATION": "LAL"}
    return [*index, {**retired, "ROSTER_STATUS": None}]


def schedule_of(rows: Iterable[Row], hour: int = 24) -> list[Row]:
    """The schedule of the games of box scores, all at one hour of UTC: 24 is 19:00 Eastern in winter."""
    home = {row["game_id"]: row for row in rows if row["is_home"]}
    return [
        game(
            game_id,
            row["game_date"],
            row["opponent"],
            row["team"],
            datetime(row["game_date"].year, row["game_date"].month, row["game_date"].day, tzinfo=UTC)
            + timedelta(hours=hour),
        )
        for game_id, row in home.items()
    ]
