"""The client of nba.com's API against a server that throttles, hangs up, cuts answers and shows pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from nba_ml.contract.errors import MissingExtraError, SourceDataError
from nba_ml.sources.nba_com.client import Client, Request
from nba_ml_tests.sources.importers.exports import shipped
from nba_ml_tests.sources.nba_com.server import (
    Api,
    Fault,
    a_page,
    an_error,
    cut,
    cut_and_declared_whole,
    forbidden,
    hung_up,
    patient,
    serve,
    silent,
    throttled,
    unavailable,
)

pytestmark = pytest.mark.slow

JUNE = Request(
    "june",
    "LeagueGameLog",
    {
        "season": "2024-25",
        "season_type_all_star": "Playoffs",
        "player_or_team_abbreviation": "P",
        "date_from_nullable": "06/01/2025",
        "date_to_nullable": "06/30/2025",
    },
)


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with serve(Api(shipped("2025-06"))) as api:
        yield api


@pytest.fixture
def api(server: Api) -> Api:
    server.faults.clear()
    server.asked.clear()
    server.times.clear()
    return server


def client(api: Api, *, tries: int = 3, pause: float = 0.0, timeout: float = 60.0) -> Client:
    return Client(api.address, pause=pause, timeout=timeout, tries=tries)


def test_an_answer_is_what_the_server_has(api: Api) -> None:
    """Guards against parameters that a server ignores, and answers with another season."""
    answer = json.loads(client(api).get(JUNE))
    [result] = answer["resultSets"]
    assert len(result["rowSet"]) == 159
    [(endpoint, query)] = api.asked
    assert (endpoint, query["Season"], query["LeagueID"]) == ("leaguegamelog", "2024-25", "00")


PASSING = [throttled, unavailable, a_page, an_error, cut, cut_and_declared_whole, hung_up]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.__name__)
def test_what_passes_is_tried_again(api: Api, fault: Fault) -> None:
    """Guards against a night that is lost because one of twenty requests failed."""
    api.faults[:] = [fault]
    assert len(json.loads(client(api).get(JUNE))["resultSets"][0]["rowSet"]) == 159
    assert len(api.asked) == 2


def test_a_silence_that_passes_is_tried_again(api: Api) -> None:
    """Guards the same where no answer comes. A busy machine may be silent once more."""
    api.faults[:] = [silent]
    assert len(json.loads(client(api, tries=9, timeout=0.5).get(JUNE))["resultSets"][0]["rowSet"]) == 159
    assert len(api.asked) >= 2


def test_a_silence_that_lasts_is_named(api: Api) -> None:
    """Guards against a client that waits for ever, or asks for ever."""
    api.faults[:] = [silent] * 9
    with pytest.raises(SourceDataError, match=r"gave no whole answer to june .tries: 2.*Read timed out"):
        client(api, tries=2, timeout=0.5).get(JUNE)
    assert len(api.asked) <= 2


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (throttled, "status 429"),
        (unavailable, "status 503"),
        (a_page, "a page instead of JSON"),
        (cut, "IncompleteRead"),
        (cut_and_declared_whole, "not valid JSON, perhaps cut short"),
        (hung_up, "Remote end closed connection"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_does_not_pass_is_named(api: Api, fault: Fault, why: str) -> None:
    """Guards against a cut answer or a page that is imported, and against a client that never gives up."""
    api.faults[:] = [fault] * 9
    with pytest.raises(SourceDataError, match=f"gave no whole answer to june .tries: 2.*{why}"):
        client(api, tries=2).get(JUNE)
    assert len(api.asked) == 2


def test_without_the_package_the_extra_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a traceback for a user who has not installed what he does not need otherwise."""
    monkeypatch.setitem(sys.modules, "nba_api.stats.library.http", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nba_ml\[nba-api\]'"):
        client(api)


def test_a_refusal_is_not_repeated(api: Api) -> None:
    """Guards against a client that knocks on where it was told to go away."""
    api.faults[:] = [forbidden] * 9
    with pytest.raises(SourceDataError, match=r"refuses june \(status 403\)"):
        client(api).get(JUNE)
    assert len(api.asked) == 1


def test_the_server_says_when_to_come_back(api: Api) -> None:
    """Guards against retries at once, which is what throttling is for."""
    api.faults[:] = [throttled]
    client(api).get(JUNE)
    assert api.times[1] - api.times[0] >= 1.0


def test_a_server_that_asks_for_an_hour_is_left_alone(api: Api) -> None:
    """Guards against a command that seems to hang."""
    api.faults[:] = [patient("3600")] * 9
    with pytest.raises(SourceDataError, match=r"tries: 1.*asks to wait for 3,600 seconds.*the same command later"):
        client(api).get(JUNE)


def test_requests_keep_their_distance(api: Api) -> None:
    """Guards against a burst: a season is some twenty requests."""
    asking = client(api, pause=0.3)
    for _ in range(3):
        asking.get(JUNE)
    assert all(later - earlier >= 0.3 for earlier, later in zip(api.times, api.times[1:], strict=False))
