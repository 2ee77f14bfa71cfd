"""What stands in files but comes from code: `python -m nba_ml_tests.generated` writes it, a test compares it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES, V4_FEATURES
from nba_ml.model.record import ModelRecord
from nba_ml.slates.prediction_rows import columns_table
from nba_ml.sources.upcoming import TABLES
from nba_ml_tests.docs import tables
from nba_ml_tests.docs.markdown import ROOT, pages

SCHEMA = ROOT / "nba_ml" / "model" / "schemas" / "model_metadata.schema.json"

PARTS: Mapping[str, Callable[[], str]] = {
    "features": tables.features,
    "career features": partial(tables.features, V3_FEATURES, V2_33FEATURES.count),
    "reported features": partial(tables.features, V4_FEATURES, V3_FEATURES.count),
    "checks": tables.checks,
    "standing checks": tables.standing_table,
    "limits": tables.limits,
    "player games": tables.player_games,
    "prop lines": tables.prop_lines,
    **{name.replace("_", " "): partial(tables.upcoming, name) for name in TABLES},
    "snapshot": tables.snapshot,
    "predictions": columns_table,
    "commands": tables.commands,
    "make": tables.make,
    "http": tables.http,
    "automation": tables.automation,
    "jobs": tables.jobs,
}
"""Name of a generated part of the documentation -> what makes it."""

_PART = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end: \2 -->)", re.S)


def schema() -> str:
    """The JSON schema of the published metadata."""
    return json.dumps(ModelRecord.model_json_schema(), indent=2, sort_keys=True) + "\n"


def with_parts(text: str) -> str:
    """A page with its generated parts as they should be. Raises KeyError for a part that nothing makes."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


def generated_pages() -> dict[Path, list[str]]:
    """The pages that have generated parts, and which."""
    found = {page: [match[2] for match in _PART.finditer(page.read_text())] for page in pages()}
    return {page: parts for page, parts in found.items() if parts}


if __name__ == "__main__":
    for page in generated_pages():
        page.write_text(with_parts(page.read_text()))
    SCHEMA.write_text(schema())
