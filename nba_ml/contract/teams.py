"""The thirty teams: nba.com's three-letter codes, the codes and names that other sources use for them.

A franchise that moved keeps its history: NJN is Brooklyn, SEA is Oklahoma City.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_NAMES: Mapping[str, tuple[str, ...]] = {
    "ATL": ("Atlanta Hawks",),
    "BKN": ("Brooklyn Nets", "BRK", "NJN"),
    "BOS": ("Boston Celtics",),
    "CHA": ("Charlotte Hornets", "CHO", "CHH"),
    "CHI": ("Chicago Bulls",),
    "CLE": ("Cleveland Cavaliers",),
    "DAL": ("Dallas Mavericks",),
    "DEN": ("Denver Nuggets",),
    "DET": ("Detroit Pistons",),
    "GSW": ("Golden State Warriors", "GS"),
    "HOU": ("Houston Rockets",),
    "IND": ("Indiana Pacers",),
    "LAC": ("Los Angeles Clippers", "LA Clippers"),
    "LAL": ("Los Angeles Lakers", "LA Lakers"),
    "MEM": ("Memphis Grizzlies", "VAN"),
    "MIA": ("Miami Heat",),
    "MIL": ("Milwaukee Bucks",),
    "MIN": ("Minnesota Timberwolves",),
    "NOP": ("New Orleans Pelicans", "NOH", "NOK", "NO"),
    "NYK": ("New York Knicks", "NY"),
    "OKC": ("Oklahoma City Thunder", "SEA"),
    "ORL": ("Orlando Magic",),
    "PHI": ("Philadelphia 76ers",),
    "PHX": ("Phoenix Suns", "PHO"),
    "POR": ("Portland Trail Blazers",),
    "SAC": ("Sacramento Kings",),
    "SAS": ("San Antonio Spurs", "SA"),
    "TOR": ("Toronto Raptors",),
    "UTA": ("Utah Jazz", "UTAH"),
    "WAS": ("Washington Wizards", "WSH"),
}

TEAM_CODES = tuple(_NAMES)
"""nba.com's codes, in alphabetical order."""


def _plain(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKC", text).upper())


_CODES = {_plain(name): code for code, names in _NAMES.items() for name in (code, *names)}


@lru_cache(maxsize=1024)
def team_code(text: str) -> str | None:
    """nba.com's code of a team that another source writes as a code or a full name; None if nobody uses it.

    Upper and lower case, spaces and punctuation do not count.
    """
    return _CODES.get(_plain(text))
