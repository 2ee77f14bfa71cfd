"""A format: which of a file's columns is which of ours, and how the rest follows. Written in TOML."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.limits import TEXT_BYTES
from nba_ml.contract.reading import read_text

FORMATS = Path(__file__).with_name("formats")

COUNTS = ("fgm", "fga", "fg3m", "fg3a", "ftm", "fta", "oreb", "dreb", "reb", "ast", "stl", "blk", "tov", "pf", "pts")

GAME_COLUMNS = (
    *("season", "season_type", "game_id", "game_date", "player_id", "player_name", "team", "opponent", "is_home"),
    *("neutral_site", "wl", "min", *COUNTS, "plus_minus"),
)
LINE_COLUMNS = (
    *("game_date", "tip_off", "player_id", "player_name", "team", "home_team", "away_team", "book", "line", "side"),
    *("price", "over_price", "under_price", "captured_at", "is_alternate"),
)
SCHEDULE_COLUMNS = ("game_id", "game_date", "home_team", "away_team", "tip_off", "neutral_site", "season_type")
ROSTER_COLUMNS = ("as_of", "team", "player_id", "player_name", "first_name", "last_name")
COLUMNS = {
    "player_games": GAME_COLUMNS,
    "prop_lines": LINE_COLUMNS,
    "schedule": SCHEDULE_COLUMNS,
    "rosters": ROSTER_COLUMNS,
}
"""Kind of a mapping, which is the folder that it fills -> columns that it can have."""
_NEEDED = {
    "player_games": ("game_date", "player_name", "team", "opponent", "is_home", "wl", "min", *COUNTS, "plus_minus"),
    "prop_lines": ("player_name", "book", "line"),
    "schedule": ("game_id", "game_date", "home_team", "away_team"),
    "rosters": ("as_of", "team", "player_id", "player_name"),
}
_FOLLOWS = {
    "reb": ("oreb", "dreb"),
    "oreb": ("reb", "dreb"),
    "dreb": ("reb", "oreb"),
    "player_name": ("first_name", "last_name"),
}
"""Columns that follow from two others."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """Where a column of ours comes from."""

    column: tuple[str, ...]
    """The names that the column has in files: the first that a file has is read. Case does not count."""
    pattern: str | None = None
    """A regular expression; its first group, or all of what it matches, is the value."""
    codes: dict[str, Any] | None = None
    """What each of the file's values means. A value that is not listed is refused."""
    formats: tuple[str, ...] = ()
    """Forms of dates, as strptime has them, beside ISO's and 'Oct 24, 2023'."""

    @field_validator("column", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class Read(_Strict):
    """Where the rows are in a JSON file."""

    result_sets: tuple[str, ...] = ()
    """Names of nba.com's result sets that hold the rows."""
    unwrap: str | None = None
    """The key under which an answer holds what is otherwise the whole file."""
    nested: tuple[str, ...] = ()
    """Keys of lists inside of a record, from the outside in: a row is an element of the innermost list."""


class Rules(_Strict):
    """What cannot be seen from the columns."""

    zero_minutes: Literal["appeared", "did not play"] = "did not play"
    """What 0 whole minutes mean. Blanks, and 0:00, are players who did not play."""
    neutral_site: Literal["both away", "never"] = "both away"
    """A game on a neutral site is one whose teams are both away, or the source does not have it."""
    did_not_play: tuple[str, ...] = ()
    """Words that stand where the minutes of a player who did not play would be. Case does not count."""


class Mapping(_Strict):
    """A format's mapping."""

    kind: Literal["player_games", "prop_lines", "schedule", "rosters"]
    about: str = ""
    read: Read = Read()
    columns: dict[str, Column]
    only: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Column of the file -> values that are wanted; rows with others are set aside. Names as in `columns`, by `|`."""
    rules: Rules = Rules()

    @field_validator("columns", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"column": each} if isinstance(each, str | list) else each for name, each in value.items()}

    @model_validator(mode="after")
    def _known(self) -> Mapping:
        known = COLUMNS[self.kind]
        if unknown := sorted(set(self.columns) - set(known)):
            raise ValueError(f"unknown columns {', '.join(unknown)}; {self.kind} has {', '.join(known)}")
        return self

    @property
    def file_columns(self) -> set[str]:
        """Every name of a column that the mapping knows."""
        return {label(each) for column in self.columns.values() for each in column.column}

    def missing(self, have: set[str]) -> list[str]:
        """Columns of ours that rows need and that are not among `have`."""
        missing = [name for name in _NEEDED[self.kind] if name not in have]
        missing = [name for name in missing if not (name in _FOLLOWS and set(_FOLLOWS[name]) <= have)]
        if self.kind == "prop_lines" and not have & {"game_date", "tip_off"}:
            missing.append("game_date or tip_off")
        return missing


def label(name: str) -> str:
    """A column's name for comparison: case and outer spaces do not count."""
    return " ".join(str(name).split()).casefold()


def shipped_formats() -> list[str]:
    """Names of the formats in the package."""
    return sorted(file.stem for file in FORMATS.glob("*.toml"))


@cache
def shipped_text(name: str) -> str:
    """A shipped mapping as it is written.

    Raises:
        SettingsError: no such format.
    """
    if name not in shipped_formats():
        raise SettingsError(
            f"'{name}' is not a format. Use {', '.join(shipped_formats())}, or --mapping with a file of your own."
        )
    return (FORMATS / f"{name}.toml").read_text(encoding="utf-8")


def shipped_mapping(name: str) -> Mapping:
    """A shipped format's mapping."""
    return _parsed(shipped_text(name), name)


def own_mapping(file: Path) -> Mapping:
    """A user's mapping.

    Raises:
        SettingsError: no such file, no TOML, or a key or value that a mapping does not have.
    """
    try:
        return _parsed(read_text(file, TEXT_BYTES), str(file))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read as a mapping ({error}).") from error


def _parsed(content: str, where: str) -> Mapping:
    try:
        return Mapping.model_validate(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where} is not valid TOML: {error}.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'mapping'}: {f['msg']}" for f in error.errors()[:5])
        raise SettingsError(f"{where} is not a valid mapping: {faults}.") from error
