"""Predictions of reference rows in a new process, for checks of the same model one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.registry.fresh_process import predict_in_fresh_process


def predict_once(booster: bytes, rows: Sequence[Sequence[float | None]], version: FeatureVersion) -> list[float]:
    """`predict_in_fresh_process`, without a second process for the very bytes and rows of the last call.

    A month's record and its bundle are checked in the same run, and the process takes as long as half of the training
    of an early month. Any other byte, as of a bundle that is damaged or another one, is tried in a process of its own.

    Raises:
        BundleError, ProcessStartError: as `predict_in_fresh_process`; the next call tries again.
    """
    return list(_predicted(booster, tuple(map(tuple, rows)), version.name))


@lru_cache(maxsize=1)
def _predicted(booster: bytes, rows: tuple[tuple[float | None, ...], ...], version: str) -> tuple[float, ...]:
    return tuple(predict_in_fresh_process(booster, rows, FEATURE_VERSIONS[version]))
