"""One value of a file, as text or as a type of JSON or Parquet, read as what its column means.

Every function returns None for a blank, and raises ValueFault, with the reason, for a value that it cannot read. None
of them guesses: a value that can be read in two ways is refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from nba_ml.contract.game_types import GameType, game_type_named
from nba_ml.contract.teams import team_code
from nba_ml.contract.text import clean
from nba_ml.contract.times import eastern_date

_BLANKS = {"", "nan", "na", "n/a", "none", "null", "nat", "<na>", "tbd", "-", "--", "\N{EN DASH}", "\N{EM DASH}"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|[+-]?\.[0-9]+")
_CLOCK = re.compile(r"([0-9]{1,3}):([0-5][0-9])(?::00)?(?:\.0+)?")
_ISO_CLOCK = re.compile(r"PT(?:([0-9]{1,3})M)?(?:([0-9]{1,2})(?:\.([0-9]+))?S)?", re.I)
_WRITTEN_DATE = ("%b %d, %Y", "%B %d, %Y", "%a, %b %d, %Y", "%A, %B %d, %Y")
_FIRST_YEAR, _LAST_YEAR = 1946, 2100
_EPOCH = (1_000_000_000, 5_000_000_000)
"""Seconds since 1970 that are dates from 2001 to 2128."""


_LAST_LATIN = "\N{LATIN SMALL LETTER Y WITH STROKE}"


class ValueFault(ValueError):  # noqa: N818 - a fault of the file, counted and shown, not an error of the program
    """The reason why a value cannot be read."""


def text(value: Any) -> str | None:
    """Text in composed Unicode, without outer or double spaces."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        raise ValueFault("bytes where text was expected")
    plain = " ".join(clean(unicodedata.normalize("NFC", str(value))).split())
    return None if plain.lower() in _BLANKS else plain


def number(value: Any) -> float | None:
    """A finite number; thousands separators are those of English."""
    if isinstance(value, bool):
        raise ValueFault("true or false where a number was expected")
    plain = text(value)
    if plain is None:
        return None
    plain = plain.replace("\N{MINUS SIGN}", "-")
    if _NUMBER.fullmatch(plain):
        found = float(plain.replace(",", ""))
    else:
        found = float(plain) if isinstance(value, float) else math.nan  # '1e-05' from a file that has numbers
    if not math.isfinite(found):
        raise ValueFault("not a number")
    return found


def whole(value: Any) -> int | None:
    """A whole number of at most five digits: '7', '7.0', '+12'."""
    found = number(value)
    if found is None:
        return None
    if found != int(found):
        raise ValueFault("not a whole number")
    if abs(found) > 32_767:
        raise ValueFault("a number that is too large")
    return int(found)


def digits(value: Any) -> str | None:
    """The digits of an id, without a '.0' that a spreadsheet or pandas added."""
    if isinstance(value, bool):
        raise ValueFault("true or false where an id was expected")
    plain = text(value)
    if plain is None:
        return None
    plain = re.sub(r"\.0+$", "", plain)
    if re.fullmatch("[0-9]{1,3}(?:,[0-9]{3})+", plain):
        plain = plain.replace(",", "")
    if not re.fullmatch("[0-9]{1,20}", plain):
        raise ValueFault("an id that is not a number")
    return plain


def player_id(value: Any) -> int | None:
    """nba.com's id of a player."""
    found = digits(value)
    if found is not None and not 0 < int(found) < 2**53:
        raise ValueFault("an id outside 1 to 2^53")
    return None if found is None else int(found)


def game_id(value: Any) -> str | None:
    """nba.com's id of a game, ten digits: the leading zeros that a number loses are put back."""
    found = digits(value)
    if found is None:
        return None
    padded = found.zfill(10)
    if len(padded) != 10 or len(found) < 8:
        raise ValueFault("a game id that does not have ten digits")
    if padded[:2] != "00":
        raise ValueFault("a game of another league")
    return padded


def minutes(value: Any) -> float | None:
    """Minutes on the floor: '34:12', 'PT34M12.00S', 34, 34.2. A clock at zero is no time, which is a blank."""
    plain = text(value)
    if plain is None:
        return None
    if match := _CLOCK.fullmatch(plain):
        return (int(match[1]) + int(match[2]) / 60) or None
    if match := _ISO_CLOCK.fullmatch(plain):
        if match[1] is None and match[2] is None:
            raise ValueFault("not a time on the floor")
        seconds = float(f"{match[2] or 0}.{match[3] or 0}")
        if seconds >= 60:
            raise ValueFault("not a time on the floor")
        return (int(match[1] or 0) + seconds / 60) or None
    with suppress(ValueFault):
        return number(value)
    raise ValueFault("not a time on the floor")


def day(value: Any, formats: Sequence[str] = ()) -> date | None:
    """An Eastern date. A moment with a zone becomes its Eastern date; one without, unless midnight, is refused."""
    given = moment(value, formats)
    if given is None:
        return None
    try:
        found = eastern_date(given)
    except (ValueError, OverflowError) as error:
        raise ValueFault(str(error)) from None
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueFault(f"a date outside {_FIRST_YEAR} to {_LAST_YEAR}")
    return found


def instant(value: Any, formats: Sequence[str] = ()) -> datetime | None:
    """A moment in UTC; without a zone it is refused. Seconds since 1970 are in UTC."""
    given = moment(value, formats)
    if given is None:
        return None
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise ValueFault("a time without a zone")
    return given.astimezone(UTC)


def moment(value: Any, formats: Sequence[str] = ()) -> date | datetime | None:
    """A date or a time, as it is written."""
    if isinstance(value, date):  # a datetime and pandas' Timestamp are dates too
        if value != value:  # NaT  # noqa: PLR0124
            return None
        return value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    plain = text(value)
    if plain is None:
        return None
    if re.fullmatch(r"[0-9]{9,10}(?:\.0+)?", plain) and _EPOCH[0] <= float(plain) < _EPOCH[1]:
        return datetime.fromtimestamp(float(plain), UTC)
    for form in formats:
        with suppress(ValueError):
            return datetime.strptime(plain, form)
    if re.match("[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?![0-9])", plain):
        with suppress(ValueError):
            return date.fromisoformat(plain)
        with suppress(ValueError):
            return datetime.fromisoformat(plain.removesuffix(" UTC") + ("+00:00" if plain.endswith(" UTC") else ""))
    for form in _WRITTEN_DATE:
        with suppress(ValueError):
            return datetime.strptime(plain.title(), form)
    raise ValueFault("not a date like 2024-11-01")


def name(value: Any) -> str | None:
    """A player's name. UTF-8 that was read as Latin-1 is read again; letters that are lost are a fault."""
    plain = text(value)
    if plain is None:
        return None
    for wrong in ("latin-1", "cp1252"):
        with suppress(UnicodeError):
            again = str(value).strip().encode(wrong).decode("utf-8")
            if max(again) <= _LAST_LATIN:
                plain = unicodedata.normalize("NFC", again)
                break
    plain = " ".join(clean(plain).rstrip("*").split())
    if "?" in plain or "\N{REPLACEMENT CHARACTER}" in plain:
        raise ValueFault("a name with lost letters")
    if not any(letter.isalpha() for letter in plain):
        raise ValueFault("not a name")
    return plain


def team(value: Any) -> str | None:
    """nba.com's code of a team."""
    plain = text(value)
    if plain is None:
        return None
    code = team_code(plain)
    if code is None:
        raise ValueFault("an unknown team")
    return code


def flag(value: Any) -> bool | None:
    """True or false."""
    if isinstance(value, bool):
        return value
    plain = text(value)
    if plain is None:
        return None
    word = plain.lower().removesuffix(".0")
    if word in {"true", "t", "yes", "y", "1"}:
        return True
    if word in {"false", "f", "no", "n", "0"}:
        return False
    raise ValueFault("not true or false")


def result(value: Any) -> str | None:
    """W or L."""
    plain = text(value)
    if plain is None:
        return None
    if plain.upper() in {"W", "L", "WIN", "LOSS"}:
        return plain[0].upper()
    raise ValueFault("a result other than W or L")


def season(value: Any) -> str | None:
    """'2021-22', from '2021-22', '2021-2022' or nba.com's '22021'."""
    plain = text(value)
    if plain is None:
        return None
    plain = plain.removesuffix(".0")
    if match := re.fullmatch("([0-9]{4})[-/]([0-9]{2}|[0-9]{4})", plain):
        first, second = int(match[1]), int(match[2][-2:])
        if second == (first + 1) % 100:
            return f"{first}-{second:02d}"
    if match := re.fullmatch("[1-9]([0-9]{4})", plain):
        return f"{match[1]}-{(int(match[1]) + 1) % 100:02d}"
    raise ValueFault("a season that is not written like 2021-22")


def season_type(value: Any) -> GameType | None:
    """The type of the game."""
    plain = text(value)
    if plain is None:
        return None
    found = game_type_named(plain)
    if found is None:
        raise ValueFault("an unknown season type")
    return found


def line(value: Any) -> float | None:
    """A points line."""
    found = number(value)
    if found is not None and not 0 <= found <= 80:
        raise ValueFault("a points line outside 0 to 80")
    return found


def side(value: Any) -> str | None:
    """'over' or 'under'."""
    plain = text(value)
    if plain is None:
        return None
    if plain.lower() in {"over", "o", "under", "u"}:
        return "over" if plain.lower().startswith("o") else "under"
    raise ValueFault("an outcome other than over or under")


def book(value: Any) -> str | None:
    """A bookmaker's key, in small letters."""
    plain = text(value)
    return plain.lower() if plain else None
