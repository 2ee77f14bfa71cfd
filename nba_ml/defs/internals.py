"""The features of Dagster that nba_ml uses although they are in preview or beta, silenced by name, here only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

_USED = {
    # One result per month and check: without it a check speaks of whichever month ran last.
    r".*partitions_def.*AssetCheckSpec.*": dg.PreviewWarning,
    # A digest as data version is what makes "the same rows, so nothing to do" visible to Dagster.
    r".*data_version.*Output.*": dg.BetaWarning,
    # Tables that are made elsewhere: observed, with a data version for each month.
    r".*observable_source_asset.*": dg.BetaWarning,
    # The first month's window reaches back before the first partition.
    r".*allow_nonexistent_upstream_partitions.*": dg.BetaWarning,
}


@contextmanager
def previews_in_use() -> Iterator[None]:
    """Leave out the warnings about the named features; any other warning still shows."""
    with warnings.catch_warnings():
        for message, category in _USED.items():
            warnings.filterwarnings("ignore", message=message, category=category)
        yield
