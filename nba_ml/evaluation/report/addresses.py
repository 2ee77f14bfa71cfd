"""Where `nba-ml ui` serves the pages and pictures: paths on its own address, short enough for Dagster's metadata.

They are made when they are asked for, from what is in the store: `ui.pages`.
"""

from __future__ import annotations

from nba_ml.contract.systems import XGBOOST_V1, System

ROOT = "/nba_ml"
"""No path of Dagster's begins with it."""

PICTURES = ("importance", "tiers", "residuals", "interval", "over_probability")
"""The pictures of a model, as `charts.charts_of` names them."""

WALK_FORWARD = "walk_forward"
REPORT, CURVE = "report.html", "curve.png"
WALK_FORWARD_FILES = (REPORT, CURVE, "residuals.svg", "interval.svg", "over_probability.svg")
"""The report, and the pictures beside it; in the store they have the same names."""


def card_address(month: str, system: System = XGBOOST_V1) -> str:
    """The model card of a month."""
    return f"{ROOT}/models/{system.prefix}{month}/card"


def picture_address(month: str, name: str, system: System = XGBOOST_V1) -> str:
    """A picture of a month's model; `name` is one of PICTURES."""
    return f"{ROOT}/models/{system.prefix}{month}/{name}.svg"


def walk_forward_file(name: str, system: System = XGBOOST_V1) -> str:
    """The report of a system in the store, or a picture of it; `name` is one of WALK_FORWARD_FILES."""
    return f"{WALK_FORWARD}/{system.prefix}{name}"


def walk_forward_address(name: str, system: System = XGBOOST_V1) -> str:
    """The same on the web."""
    return f"{ROOT}/{walk_forward_file(name, system)}"
