"""What a body costs, however it is made: the parser's work grows with its bytes, and no faster."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request

from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.problems import Problem
from nba_ml.serving.http.requests import LargeBodies, _without_repeats, parse_rows, read_body, wants_explanation

NAMES = 3_000


class Compared(str):
    """A name that counts how often any of its kind is compared."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_finding_a_name_twice_takes_no_longer_than_the_names_are_many() -> None:
    """Guards the core: each name held against all before it, 4 MB of names took ten minutes, and SIGTERM had to wait.

    Comparisons are counted, not seconds: each against all would be four and a half million.
    """
    pairs: list[tuple[str, object]] = [(Compared(f"name {index}"), 0) for index in range(NAMES)]
    pairs.append((Compared(f"name {NAMES - 1}"), 0))
    Compared.times = 0
    with pytest.raises(ValueError, match=f"the name 'name {NAMES - 1}' is repeated"):
        _without_repeats(pairs)
    assert Compared.times < 10 * NAMES


@pytest.mark.parametrize("where", ['{"rows": [%s]}', '{"deeper": %s}', "%s"])
def test_a_name_twice_is_named_wherever_it_is(where: str) -> None:
    """Guards the message: the first name that comes again, also inside a slate, and cut where it is long."""
    twice = '{"a": 1, "b": 2, "%s": 3, "b": 4, "%s": 5}' % (("x" * 300,) * 2)
    with pytest.raises(Problem, match="the name 'b' is repeated"):
        parse_rows((where % twice).encode(), Limits())
    long = json.dumps({"x" * 300: 1})[:-1] + ', "' + "x" * 300 + '": 2}'
    with pytest.raises(Problem, match=f"the name '{'x' * 80}' is repeated"):
        parse_rows((where % long).encode(), Limits())


# --- what a body may be ---------------------------------------------------------------------------------------

FEW = Limits(rows=2, values_per_row=3, body_bytes=40, body_seconds=0.05, small_body_bytes=10, large_bodies_bytes=100)


def test_one_row_and_a_slate_of_as_many_rows_as_may_be() -> None:
    assert parse_rows(b'{"a": 1}', FEW) == {"a": 1}
    assert parse_rows(b'{"rows": []}', FEW) == []
    assert parse_rows(b'{"rows": [{}, {}]}', FEW) == [{}, {}]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ('{"rows": [1, 2, 3]}', 413, "The slate has 3 rows; the limit is 2."),
        ('{"rows": [], "a": 1}', 422, "rows is a list, and there are 1 other member(s)"),
        ('{"rows": {}}', 422, "rows is an object, and there are 0 other member(s)"),
        ("[]", 422, "Found: a list."),
        ("1", 422, "Found: a number."),
        ("true", 422, "Found: true or false."),
        ("null", 422, "Found: null."),
        ('"x"', 422, "Found: a string."),
        ('{"a": NaN}', 400, "NaN is not JSON; send null"),
        ("{", 400, "not valid JSON"),
        ("[" * 5_000, 413, "about 5,000 values; the limit is 300"),
    ],
    ids=["rows", "member", "object", "list", "number", "truth", "null", "string", "nan", "cut", "values"],
)
def test_other_bodies_are_refused_with_what_they_are(body: str, status: int, said: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_rows(body.encode(), FEW)
    assert refused.value.status == status
    assert said in refused.value.detail


def test_values_are_counted_before_they_are_parsed() -> None:
    """Guards the memory: what a body would become when it is parsed, from its commas and opening brackets."""
    for values, refused in ((300, False), (301, True)):
        body = b'{"a": [' + b",".join([b"1"] * (values - 1)) + b"]}"
        assert sum(map(body.count, (b",", b"[", b"{"))) == values
        if refused:
            with pytest.raises(Problem, match="about 301 values; the limit is 300"):
                parse_rows(body, FEW)
        else:
            assert parse_rows(body, FEW) == {"a": [1] * 299}


def test_large_bodies_share_what_may_be_held_and_one_client_has_half() -> None:
    bodies = LargeBodies(FEW)
    with bodies.held("a") as first, bodies.held("a") as second, bodies.held("b") as other, bodies.held("c") as third:
        first(10)  # a small one does not count
        first(30)
        second(20)
        with pytest.raises(Problem, match="Too many large bodies at once") as refused:
            second(21)
        assert refused.value.status == 503
        other(50)
        third(10)
        with pytest.raises(Problem, match="Too many large bodies at once"):
            third(11)
    with bodies.held("a") as again:
        again(50)
    assert not bodies._held, "an address that has gone is forgotten"
    with LargeBodies(replace(FEW, large_bodies_bytes=60)).held("a") as alone:
        alone(40)  # one body of the greatest length is always taken
        with pytest.raises(Problem):
            alone(41)


def read(*chunks: bytes | None, headers: dict[str, str] | None = None) -> tuple[bytes, list[int]]:
    """Read a body that arrives in these chunks; None: the client closes the connection. Nothing more comes after."""
    given = {"content-type": "application/json", **(headers or {})}
    scope = {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in given.items()]}
    arriving, lengths = iter(chunks), list[int]()

    async def receive() -> dict[str, Any]:
        for chunk in arriving:
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": chunk != b""}
        await asyncio.sleep(60)
        raise AssertionError

    body = asyncio.run(read_body(Request(scope, receive), FEW, lengths.append))
    return bytes(body), lengths


def test_a_body_is_read_to_its_end() -> None:
    assert read(b"{", b"}", b"") == (b"{}", [1, 2, 2])
    assert read(b"x" * 40, b"", headers={"content-length": "40"})[0] == b"x" * 40
    for stated in ("Application/JSON", "application/json; charset=utf-8", " application/json ;x"):
        assert read(b"{}", b"", headers={"content-type": stated, "content-encoding": "Identity"})[0] == b"{}"
    for odd in ("x", "-1", "9" * 20):  # the server's parser refuses these; here what arrives is counted
        assert read(b"{}", b"", headers={"content-length": odd})[0] == b"{}"


@pytest.mark.parametrize(
    ("chunks", "headers", "status"),
    [
        ([b"{}", b""], {"content-type": "text/json"}, 415),
        ([b"{}", b""], {"content-encoding": "gzip"}, 415),
        ([], {"content-length": "41"}, 413),
        ([b"x" * 20, b"x" * 21], {}, 413),
        ([b"{"], {}, 408),
        ([b"{", None], {}, 400),
    ],
    ids=["type", "encoding", "stated length", "length", "slow", "cut off"],
)
def test_a_body_that_is_not_taken(chunks: list[bytes | None], headers: dict[str, str], status: int) -> None:
    with pytest.raises(Problem) as refused:
        read(*chunks, headers=headers)
    assert refused.value.status == status


def test_a_query_has_an_end_and_other_parameters_are_ignored() -> None:
    """Guards against an unexpected error, with a traceback in the log, for a link with many parameters."""
    assert wants_explanation(b"&".join([b"utm=1"] * 19 + [b"explain=1"]))
    with pytest.raises(Problem, match="more than 20 parameters") as refused:
        wants_explanation(b"&" * 20)
    assert refused.value.status == 422
