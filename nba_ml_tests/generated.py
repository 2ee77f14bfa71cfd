"""What stands in files but comes from code: `python -m nba_ml_tests.generated` writes it, a test compares it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nba_ml.checks.registry import all_checks
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs import slate_checks as slate_predictions
from nba_ml.model.record import ModelRecord
from nba_ml.slates.served_table import columns_table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SCHEMA = ROOT / "nba_ml" / "core" / "schemas" / "model_metadata.schema.json"


def features_table() -> str:
    """The feature contract as a Markdown table."""
    rows = [
        f"| {i} | `{f.name}` | {f.group} | {f.definition} | {f.unit} "
        f"| {f.low:g} to {f.high:g} | {f.missing_when or 'no'} |"
        for i, f in enumerate(V2_33FEATURES.features)
    ]
    return "\n".join(
        ["| i | name | group | definition | unit | range | may be missing |", "|---|---|---|---|---|---|---|", *rows]
    )


def checks_table() -> str:
    """The registry of asset checks, and those of slates, as a Markdown table."""
    every = (*all_checks(), *slate_predictions.checks(Thresholds()))
    rows = [f"| `{c.asset}` | `{c.name}` | {c.threshold} | {c.consequence} | {c.reason} |" for c in every]
    return "\n".join(["| asset | check | threshold | a failure | why |", "|---|---|---|---|---|", *rows])


def schema() -> str:
    """The JSON schema of the published metadata."""
    return json.dumps(ModelRecord.model_json_schema(), indent=2, sort_keys=True) + "\n"


PARTS: Mapping[str, str] = {"features": features_table(), "checks": checks_table(), "predictions": columns_table()}
"""Name of a generated part of the README -> its content."""


def with_parts(text: str) -> str:
    """The README with its generated parts as they should be. Raises ValueError if a marker is missing."""
    for name, content in PARTS.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"README.md has no part between {start} and {end}")
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(with_parts(README.read_text()))
    SCHEMA.write_text(schema())
