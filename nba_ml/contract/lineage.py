"""The inputs of a materialisation as one digest.

Materialisations with the same inputs digest are identical. `--only-missing` compares this digest.
"""

from __future__ import annotations

from collections.abc import Mapping

from nba_ml.contract.digest import json_digest

Inputs = Mapping[str, Mapping[str, str]]
"""Upstream asset -> month -> digest."""


def inputs_digest(code_version: str, inputs: Inputs, outside: Mapping[str, str]) -> str:
    """Digest of an asset's code version, its upstream digests, and its inputs from outside the graph."""
    return json_digest(
        {"code": code_version, "inputs": {k: dict(v) for k, v in inputs.items()}, "outside": dict(outside)}
    )
