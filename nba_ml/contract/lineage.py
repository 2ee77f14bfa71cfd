"""From which inputs a materialisation was made, as one digest.

Two materialisations with the same inputs digest are the same; that is what `--only-missing` asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from nba_ml.contract.digest import json_digest

Inputs = Mapping[str, Mapping[str, str]]
"""Upstream asset -> month -> digest."""


def inputs_digest(code_version: str, inputs: Inputs, outside: Mapping[str, str]) -> str:
    """Digest of an asset's code version, the digests of what it read, and what it read from outside the graph."""
    return json_digest(
        {"code": code_version, "inputs": {k: dict(v) for k, v in inputs.items()}, "outside": dict(outside)}
    )
