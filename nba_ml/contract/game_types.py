"""Kinds of games, and what a game id says about them."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache


class GameType(StrEnum):
    """As nba.com names the season types."""

    PRESEASON = "Pre Season"
    REGULAR_SEASON = "Regular Season"
    ALL_STAR = "All-Star"
    PLAYOFFS = "Playoffs"
    PLAY_IN = "PlayIn"
    CUP_FINAL = "NBA Cup Final"


PLATFORM_TYPES = (GameType.REGULAR_SEASON, GameType.PLAYOFFS, GameType.PLAY_IN, GameType.CUP_FINAL)
"""The types that are trained on and graded. The others are set aside."""

_BY_DIGIT = dict(zip("123456", GameType, strict=True))
_WORDS = {
    "preseason": GameType.PRESEASON,
    "regularseason": GameType.REGULAR_SEASON,
    "regular": GameType.REGULAR_SEASON,
    "allstar": GameType.ALL_STAR,
    "allstargame": GameType.ALL_STAR,
    "playoffs": GameType.PLAYOFFS,
    "playoff": GameType.PLAYOFFS,
    "postseason": GameType.PLAYOFFS,
    "playin": GameType.PLAY_IN,
    "playintournament": GameType.PLAY_IN,
    "nbacup": GameType.CUP_FINAL,
    "nbacupfinal": GameType.CUP_FINAL,
    "emiratesnbacup": GameType.CUP_FINAL,
    "istchampionship": GameType.CUP_FINAL,
    "inseasontournament": GameType.CUP_FINAL,
    "cupfinal": GameType.CUP_FINAL,
    "inseasontournamentfinal": GameType.CUP_FINAL,
}


@lru_cache(maxsize=65_536)
def game_type_of_id(game_id: str) -> GameType | None:
    """The type that the third digit of a ten-digit id gives: 1 preseason, 2 regular season, 3 All-Star, 4 playoffs,
    5 play-in, 6 Cup final. None for an id of another form or another digit."""
    return _BY_DIGIT.get(game_id[2]) if re.fullmatch("[0-9]{10}", game_id) else None


@lru_cache(maxsize=1024)
def game_type_named(text: str) -> GameType | None:
    """'Playoffs', 'Play-In', 'regular season' and the like; None for anything else."""
    return _WORDS.get(re.sub("[^a-z]", "", text.lower()))
