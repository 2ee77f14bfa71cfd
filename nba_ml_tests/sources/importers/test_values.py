"""Single values: each spelling that files have, and refusal of what can be read in two ways."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.game_types import GameType, game_type_of_id
from nba_ml.contract.teams import TEAM_CODES, team_code
from nba_ml.contract.times import EASTERN, eastern_date
from nba_ml.sources.importers import values
from nba_ml.sources.importers.values import ValueFault


@pytest.mark.parametrize(
    "blank", [None, "", "  ", "NaN", "nan", "N/A", "None", "null", float("nan"), "\u2014", "\ufeff".strip("\ufeff")]
)
def test_blanks_are_none_for_every_reader(blank: Any) -> None:
    """Guards against a blank that becomes 0, or text."""
    readers = (values.whole, values.minutes, values.day, values.instant, values.name, values.team, values.game_id)
    for read in (*readers, values.player_id, values.flag, values.result, values.season, values.line, values.side):
        assert read(blank) is None


@given(st.integers(-32_767, 32_767))
def test_counts_survive_every_spelling(count: int) -> None:
    """Guards against '7.0' refused, and '1,204' cut at its comma."""
    for spelling in (count, str(count), f"{count}.0", f"{count:+d}", f"{count:,}", float(count), f" {count} "):
        assert values.whole(spelling) == count


@pytest.mark.parametrize(
    "wrong", ["7.5", "7,5", "1e3", "seven", "7 8", True, "\u0667", "inf", float("inf"), "99999", "1,20,4", "--7"]
)
def test_what_is_no_count_is_refused(wrong: Any) -> None:
    """Guards against int() and float(), which read '٣', '1_000' and 'inf'."""
    with pytest.raises(ValueFault):
        values.whole(wrong)


@given(st.integers(0, 78), st.integers(0, 59))
def test_clocks_are_minutes(minute: int, second: int) -> None:
    """Guards against '34:12' read as 34 hours, and ISO's form refused."""
    exact = minute + second / 60
    spellings = (f"{minute}:{second:02d}", f"PT{minute:02d}M{second:02d}.00S", f"{minute:02d}:{second:02d}:00")
    for spelling in spellings:
        read = values.minutes(spelling)
        assert (read is None) if exact == 0 else read == pytest.approx(exact)
    assert values.minutes(minute) == values.minutes(f"{minute}.0") == minute


@pytest.mark.parametrize("wrong", ["34:61", "PT34M61S", "PT", "34m", "12:5", "1:02:03", "-3:00"])
def test_what_is_no_clock_is_refused(wrong: str) -> None:
    """Guards against hours read as minutes, and seconds over 59."""
    with pytest.raises(ValueFault, match="not a time on the floor"):
        values.minutes(wrong)


@given(st.dates(date(1947, 1, 1), date(2099, 12, 31)))
def test_dates_survive_every_spelling(day: date) -> None:
    """Guards against a date that moves by a day, or is refused for how nba.com writes it."""
    spellings = (
        *(day, str(day), f"{day:%Y%m%d}", f"{day}T00:00:00", f"{day} 00:00:00", f"{day:%b %d, %Y}".upper()),
        *(
            f"{day:%B} {day.day}, {day.year}",
            f"{day:%a, %b} {day.day}, {day.year}",
            datetime(day.year, day.month, day.day),
        ),
    )
    for spelling in spellings:
        assert values.day(spelling) == day


@given(st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)), st.integers(-12, 14))
def test_a_moment_with_a_zone_becomes_its_eastern_date(moment: datetime, hours: int) -> None:
    """Guards against the date of UTC: a game at 8 pm in New York is on the next day there."""
    zoned = moment.replace(tzinfo=timezone(timedelta(hours=hours)), microsecond=0)
    expected = zoned.astimezone(EASTERN).date()
    assert values.day(zoned) == values.day(zoned.isoformat()) == eastern_date(zoned) == expected


def test_tip_offs_around_midnight() -> None:
    """Guards against an error of the rule that the property test repeats."""
    assert values.day("2024-12-14T01:10:00Z") == date(2024, 12, 13)
    assert values.day("2024-12-14T04:59:59+00:00") == date(2024, 12, 13)
    assert values.day("2024-12-14T05:00:00Z") == date(2024, 12, 14)
    assert values.day("2024-07-01 03:59:59 UTC") == date(2024, 6, 30)
    assert values.day(1734138600) == date(2024, 12, 13)
    assert values.instant("2024-12-14T01:10:00Z") == datetime(2024, 12, 14, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("moment", ["2024-12-14T19:10:00", "2024-12-14 00:00:01", datetime(2024, 12, 14, 1)])
def test_a_time_without_a_zone_is_refused(moment: Any) -> None:
    """Guards against a date that depends on where the file was written."""
    with pytest.raises(ValueFault, match="a time without a zone"):
        values.day(moment)
    with pytest.raises(ValueFault, match="a time without a zone"):
        values.instant(moment)


@pytest.mark.parametrize(
    "wrong", ["13/04/2024", "04/05/2024", "45223", "2024-13-01", "2024-02-30", "yesterday", "1899-12-30"]
)
def test_what_is_no_date_is_refused(wrong: str) -> None:
    """Guards against a day and a month swapped, and a spreadsheet's number of days."""
    with pytest.raises(ValueFault):
        values.day(wrong)
    assert values.day("13/04/2024", ("%d/%m/%Y",)) == date(2024, 4, 13)


@given(st.text(st.characters(categories=["Ll"], min_codepoint=0x61, max_codepoint=0x24F), min_size=1, max_size=12))
def test_names_are_one_whatever_their_unicode_form(letters: str) -> None:
    """Guards against one player with two histories: 'č' is one character or two."""
    composed = unicodedata.normalize("NFC", f"Luka {letters}")
    assert values.name(unicodedata.normalize("NFD", composed)) == values.name(composed) == composed


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Luka Dončić".encode().decode("latin-1"), "Luka Dončić"),
        ("Dennis Schröder".encode().decode("cp1252"), "Dennis Schröder"),
        ("Dennis Schröder", "Dennis Schröder"),
        ("  Jaren\u00a0Jackson  Jr. ", "Jaren Jackson Jr."),
        ("LeBron James*", "LeBron James"),
    ],
)
def test_names_are_read_as_they_were_meant(written: str, read: str) -> None:
    """Guards against UTF-8 that somebody opened as Latin-1 and saved."""
    assert values.name(written) == read


@pytest.mark.parametrize("lost", ["Luka Don?i?", "Luka Don\ufffdi\ufffd", "123"])
def test_a_name_with_lost_letters_is_refused(lost: str) -> None:
    """Guards against a new player called 'lukadoni'."""
    with pytest.raises(ValueFault):
        values.name(lost)


@pytest.mark.parametrize(
    ("written", "read"), [("22300061", "0022300061"), (22300061.0, "0022300061"), ("0042100406", "0042100406")]
)
def test_a_game_id_has_its_zeros_back(written: Any, read: str) -> None:
    """Guards against one game with two ids: pandas reads '0022300061' as a number."""
    assert values.game_id(written) == read


@pytest.mark.parametrize("wrong", ["2.23E+07", "abc", "61", "1022300061", "00223000611"])
def test_what_is_no_game_id_is_refused(wrong: str) -> None:
    """Guards against an id that a spreadsheet rounded, and games of the WNBA (10...) and the G League (20...)."""
    with pytest.raises(ValueFault):
        values.game_id(wrong)


def test_teams_are_one_under_all_their_codes() -> None:
    """Guards against a 31st team."""
    aliases = {"BRK": "BKN", "CHO": "CHA", "PHO": "PHX", "NOH": "NOP"}
    espn = {"GS": "GSW", "NO": "NOP", "NY": "NYK", "SA": "SAS", "UTAH": "UTA", "WSH": "WAS"}
    assert {code: team_code(code) for code in aliases | espn} == aliases | espn
    assert {team_code(code.lower()) for code in TEAM_CODES} == set(TEAM_CODES)
    assert len(TEAM_CODES) == 30
    assert team_code("LA Clippers") == team_code("Los Angeles Clippers") == "LAC"
    assert team_code("Seattle Storm") is None
    with pytest.raises(ValueFault, match="an unknown team"):
        values.team("XYZ")


def test_the_third_digit_is_the_type() -> None:
    """Guards against preseason games in the averages."""
    ids = ("0012300001", "0022300001", "0032300001", "0042300101", "0052300101", "0062300001")
    assert [game_type_of_id(each) for each in ids] == list(GameType)
    assert game_type_of_id("0072300001") is None
    assert values.season_type("Play-In") is GameType.PLAY_IN


@pytest.mark.parametrize("written", ["2021-22", "2021-2022", "22021", "42021", "2021/22"])
def test_a_season_has_one_name(written: str) -> None:
    """Guards against nba.com's SEASON_ID refused."""
    assert values.season(written) == "2021-22"


@pytest.mark.parametrize("wrong", ["2021-23", "2021", "21-22"])
def test_an_ambiguous_season_is_refused(wrong: str) -> None:
    """Guards against '2021', which is 2020-21 at one source and 2021-22 at another."""
    with pytest.raises(ValueFault):
        values.season(wrong)
