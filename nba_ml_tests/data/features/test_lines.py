"""Whose line a line is: by id, by name only where that is certain, and counted where it is nobody's."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data import tables
from nba_ml.data.features import compute_features, match_lines
from nba_ml.data.identities import player_lookup
from nba_ml.data.lines import LineCounts, LineOutcome
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.data.features.conftest import COMPUTED_AT, FIRST, LAST, matrix
from nba_ml_tests.data.features.reference import Games, Listed, three_years_before
from nba_ml_tests.data.features.test_definitions import OPENING, Line, box_scores
from nba_ml_tests.profiles import examples

LINE, FLAG = (V2_33FEATURES.index(name) for name in ("vegas_points_line", "has_vegas_line"))

SPELT_OTHERWISE = {
    "Derrick Jones": ("derrickjonesjr", 32),
    "Jimmy Butler": ("jimmybutleriii", 22),
    "Isaiah Stewart II": ("isaiahstewart", 16),
    "Bruce Brown Jr": ("brucebrown", 3),
    "Paul Reed Jr": ("paulreed", 1),
}
"""Players whom the books of the shipped lines call otherwise than the box scores do: their lookup, and on how many
dates they were listed and played."""


def lines_of(*listed: Listed) -> pa.Table:
    """Lines as a table."""
    return pa.Table.from_pylist([row._asdict() for row in listed], tables.PROP_LINES)


def lines_by_row(features: pa.Table) -> dict[tuple[str, date], float]:
    """(player_lookup, game_date) -> the line in its features, of the rows that have one."""
    vectors = matrix(features)
    assert (np.isnan(vectors[:, LINE]) == (vectors[:, FLAG] == 0)).all()
    keys = zip(features["player_lookup"].to_pylist(), features["game_date"].to_pylist(), strict=True)
    return {key: line for key, line in zip(keys, vectors[:, LINE].tolist(), strict=True) if not np.isnan(line)}


# --- the shipped lines ------------------------------------------------------------------------------------


def test_every_listed_player_who_played_has_his_line(summary: pa.Table, all_features: pa.Table, games: Games) -> None:
    """Guards the 74 of 6,052 player-games that counted as having no line, as books spell the name otherwise."""
    listed = pq.read_table(SAMPLE_DATA / "prop_lines").to_pylist()
    appeared = {
        (row["universal_player_id"], row["game_date"]): row["player_lookup"]
        for row in summary.select(["universal_player_id", "game_date", "player_lookup"]).to_pylist()
    }
    expected, otherwise = set(), set()
    for row in listed:
        lookup = appeared.get((str(row["player_id"]), row["game_date"]))
        if lookup is not None:
            expected.add((lookup, row["game_date"]))
            if player_lookup(row["player_name"]) != lookup:
                otherwise.add((row["player_name"], lookup, row["game_date"]))

    found = lines_by_row(all_features)

    assert len(expected) == 6_052
    assert Counter((name, lookup) for name, lookup, _ in otherwise) == {
        (name, lookup): dates for name, (lookup, dates) in SPELT_OTHERWISE.items()
    }
    assert found.keys() == expected
    for _, lookup, day in otherwise:
        assert found[lookup, day] == games.reference(lookup, day)[LINE]


@pytest.mark.slow
def test_the_shipped_lines_that_are_nobodys_are_counted_by_reason(summary: pa.Table, lines: pa.Table) -> None:
    """Guards lost lines: nicknames without an id, the NBA Cup final and postponed games, and who sat out, are told."""
    matched = match_lines(summary, lines, FIRST, LAST)
    assert LineCounts.of(matched) == LineCounts(
        {
            LineOutcome.BY_ID: 10_624,
            LineOutcome.DID_NOT_PLAY: 344,
            LineOutcome.NO_GAME: 40,
            LineOutcome.NAME_UNKNOWN: 152,
        }
    )
    unknown = {row["player_lookup"] for row in matched.to_pylist() if row["outcome"] == LineOutcome.NAME_UNKNOWN.value}
    assert {"nicolasclaxton", "herbjones", "carltoncarrington", "bjbostonjr", "ronholland"} <= unknown


# --- the rules, one by one --------------------------------------------------------------------------------

DAY = OPENING + timedelta(days=3)


def player(lookup: str, day: date, identity: str, team: str = "AAA", opponent: str = "BBB") -> tuple[Line, str]:
    """A player's game, and his id."""
    return Line(lookup, day, team, opponent, won=team == "AAA"), identity


def summary_of(*rows: tuple[Line, str]) -> pa.Table:
    """Box scores with ids of their own."""
    table = box_scores([line for line, _ in rows])
    ids = {(line.player, line.day): identity for line, identity in rows}
    keys = zip(table["player_lookup"].to_pylist(), table["game_date"].to_pylist(), strict=True)
    column = pa.array([ids.get(key, key[0]) for key in keys], pa.string())
    return table.set_column(table.column_names.index("universal_player_id"), "universal_player_id", column)


def outcome_of(summary: pa.Table, listed: Listed) -> tuple[str, bool]:
    """What becomes of one line, and whether its name is somebody else's."""
    [row] = match_lines(summary, lines_of(listed), OPENING - timedelta(days=400), DAY + timedelta(days=30)).to_pylist()
    return row["outcome"], row["named_otherwise"]


WORLD = (
    player("jimmybutler", OPENING - timedelta(days=30), "1"),  # spelt otherwise in the season before
    player("jimmybutleriii", OPENING, "1"),
    player("jimmybutleriii", DAY, "1"),
    player("jalenwilliams", OPENING, "2"),
    player("jalenwilliams", DAY, "2"),
    player("jaylinwilliams", OPENING, "3", "CCC", "DDD"),
    player("twin", OPENING, "4"),
    player("twinjr", DAY, "4"),  # both play: whoever guesses gives the line to one of them
    player("twin", DAY, "5"),
    player("rested", OPENING, "6"),
    player("traveller", DAY - timedelta(days=1), "7", "EEE", "FFF"),
    player("ended", DAY + timedelta(days=4), "8"),
)


@pytest.mark.parametrize(
    ("identity", "name", "day", "expected", "named_otherwise"),
    [
        ("1", "jimmybutler", DAY, LineOutcome.BY_ID, False),
        ("1", "jimmyb", DAY, LineOutcome.BY_ID, False),
        (None, "jimmybutleriii", DAY, LineOutcome.BY_NAME, False),
        (None, "jimmybutler", DAY, LineOutcome.BY_NAME, False),  # his name in an earlier box score
        (None, "jimmyb", DAY, LineOutcome.NAME_UNKNOWN, False),
        (None, "", DAY, LineOutcome.NAME_UNKNOWN, False),
        (None, "jalenwilliams", DAY, LineOutcome.BY_NAME, False),
        ("2", "jaylinwilliams", DAY, LineOutcome.BY_ID, True),
        ("3", "jalenwilliams", OPENING, LineOutcome.BY_ID, True),
        (None, "twin", OPENING, LineOutcome.BY_NAME, False),  # the other one has not been seen yet
        (None, "twin", DAY, LineOutcome.NAME_AMBIGUOUS, False),
        ("4", "twin", DAY, LineOutcome.BY_ID, False),
        ("5", "twin", DAY, LineOutcome.BY_ID, False),
        ("99", "jalenwilliams", DAY, LineOutcome.ID_UNKNOWN, True),
        ("6", "rested", DAY, LineOutcome.DID_NOT_PLAY, False),
        (None, "rested", DAY, LineOutcome.DID_NOT_PLAY, False),
        ("7", "traveller", DAY, LineOutcome.DAY_BEFORE, False),
        (None, "traveller", DAY, LineOutcome.DAY_BEFORE, False),
        ("3", "jaylinwilliams", DAY, LineOutcome.NO_GAME, False),
        ("8", "ended", DAY + timedelta(days=5), LineOutcome.NOT_YET, False),
        ("8", "ended", DAY, LineOutcome.ID_UNKNOWN, False),  # his first game comes later
    ],
)
def test_the_rules(identity: str | None, name: str, day: date, expected: str, named_otherwise: bool) -> None:
    """Guards each rule on its own: nothing is guessed, and each line left over has its reason."""
    assert outcome_of(summary_of(*WORLD), Listed(identity, name, day, "a", 20.5)) == (expected, named_otherwise)


def test_a_name_of_three_years_ago_is_no_ones() -> None:
    """Guards against a namesake who left long ago: he neither takes a line nor makes a name ambiguous."""
    old = three_years_before(DAY) - timedelta(days=1)
    listed = Listed(None, "anna", DAY, "a", 20.5)
    assert outcome_of(summary_of(player("anna", old, "1"), player("bea", DAY, "2")), listed)[0] == "name unknown"
    assert outcome_of(summary_of(player("anna", old, "1"), player("anna", DAY, "2")), listed)[0] == "matched by name"
    recent = player("anna", old + timedelta(days=1), "1")
    assert outcome_of(summary_of(recent, player("anna", DAY, "2")), listed)[0] == "name ambiguous"


def test_lines_of_one_player_are_one_players_however_they_say_so() -> None:
    """Guards the median: a player listed by id under two spellings, and by name, is one player with each line once."""
    rows = summary_of(*WORLD)
    listed = lines_of(
        Listed("1", "jimmybutler", DAY, "a", 10.5),
        Listed(None, "jimmybutleriii", DAY, "a", 12.5),
        Listed("1", "jimmyb", DAY, "a", 30.5),
        Listed(None, "jimmybutler", DAY, "b", 20.5),
        Listed("99", "jimmybutleriii", DAY, "b", 1.5),
        Listed("2", "jimmybutleriii", DAY, "c", 5.5),  # by its id it is another player's
    )
    found = lines_by_row(compute_features(rows, listed, DAY, DAY, computed_at=COMPUTED_AT))
    assert found == {("jimmybutleriii", DAY): 16.5, ("jalenwilliams", DAY): 5.5}


def test_counts_leave_out_what_is_no_fault() -> None:
    """Guards the share: who sat out and tonight's games are neither matched nor lost."""
    counts = LineCounts(
        {
            LineOutcome.BY_ID: 6,
            LineOutcome.BY_NAME: 1,
            LineOutcome.DID_NOT_PLAY: 20,
            LineOutcome.NOT_YET: 30,
            LineOutcome.NAME_UNKNOWN: 1,
            LineOutcome.DAY_BEFORE: 2,
        }
    )
    assert (counts.listed, counts.matched, counts.judged) == (60, 7, 10)
    assert list(counts.unmatched.items()) == [("game the day before: dated by UTC?", 2), ("name unknown", 1)]


# --- any box scores, any lines ----------------------------------------------------------------------------

NAMES = ["an", "ben", "cy", "dee", "ed"]
IDS = ["1", "2", "3", "4"]
DATES = [OPENING + timedelta(days=at) for at in range(4)]


@st.composite
def worlds(draw: st.DrawFn) -> pa.Table:
    """Four players of two teams over four dates: each under any name, on any date, though never two under one."""
    rows = [player("guest", DATES[0], "0")]
    for day in DATES:
        names = draw(st.permutations(NAMES))
        present = draw(st.sets(st.sampled_from(IDS)))
        for identity, name in zip(IDS, names, strict=False):
            if identity in present:
                sides = ("AAA", "BBB") if identity in "12" else ("BBB", "AAA")
                rows.append(player(name, day, identity, *sides))
    return summary_of(*rows)


listings = st.builds(
    Listed,
    st.sampled_from([None, None, *IDS, "99"]),
    st.sampled_from([*NAMES, "nobody"]),
    st.sampled_from([*DATES, DATES[-1] + timedelta(days=1)]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([10.5, 12.5, 20.0, 30.5]),
)


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(summary=worlds(), listed=st.lists(listings, max_size=12))
def test_any_lines_go_where_the_reference_puts_them(summary: pa.Table, listed: list[Listed]) -> None:
    """Guards every combination of ids, names and dates: each line is his who has it for certain, or is nobody's."""
    lines = lines_of(*listed)
    games = Games(summary, lines)
    appeared = {(row.universal_player_id, row.game_date) for row in games.rows}

    matched = match_lines(summary, lines, DATES[0], DATES[-1]).to_pylist()
    within = [each for each in listed if each.game_date <= DATES[-1]]
    assert sorted(map(_key, matched)) == sorted(
        _key({**each._asdict(), "universal_player_id": games.player_of(each)}) for each in within
    )
    for row in matched:
        is_his = (row["universal_player_id"], row["game_date"]) in appeared
        assert (row["outcome"] in ("matched by id", "matched by name")) == is_his

    features = compute_features(summary, lines, DATES[0], DATES[-1], computed_at=COMPUTED_AT)
    expected = {key: games.reference(*key)[LINE] for key in games.row}
    assert lines_by_row(features) == {key: line for key, line in expected.items() if not np.isnan(line)}


def _key(row: dict[str, object]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in Listed._fields)
