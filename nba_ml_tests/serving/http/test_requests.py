"""What a body costs, however it is made: the parser's work grows with its bytes, and no faster."""

from __future__ import annotations

import json

import pytest

from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.problems import Problem
from nba_ml.serving.http.requests import _without_repeats, parse_rows

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
