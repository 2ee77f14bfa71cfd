"""The code location that Dagster loads: `nba_ml.definitions:defs`, made when somebody asks for it.

Importing this module reads no settings and builds no graph. `nba_ml.defs.build.build_defs` makes further ones.
"""

from __future__ import annotations

from functools import cache

import dagster as dg

from nba_ml.defs.build import build_defs
from nba_ml.settings import Settings


@cache
def _made() -> dg.Definitions:
    return build_defs(Settings.from_environment())


def __getattr__(name: str) -> dg.Definitions:
    if name == "defs":
        return _made()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Dagster looks through a module's names for its definitions.
    return [*globals(), "defs"]
