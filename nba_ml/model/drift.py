"""How far a feature's distribution, including missing values, has moved from a reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 10
LEAST_SHARE = 1e-4
"""Replaces the share of an empty bin, because the logarithm of 0 is undefined."""

Floats = npt.NDArray[np.float64]


def population_stability_index(reference: Floats, values: Floats) -> float:
    """PSI of `values` (m,) against `reference` (n,): the sum over bins of (q - p) ln(q / p).

    Bins are the deciles of the reference (fewer where values repeat), and one for the missing. Source:
    Siddiqi, Credit Risk Scorecards (2006), ch. 9. Raises ValueError if either is empty.
    """
    if not len(reference) or not len(values):
        raise ValueError("a population without rows has no distribution")
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    p, q = (np.maximum(_shares(each, edges), LEAST_SHARE) for each in (reference, values))
    return float(((q - p) * np.log(q / p)).sum())


def _shares(values: Floats, edges: Floats) -> Floats:
    """Share of the values in each bin; missing values are the last bin."""
    missing = np.isnan(values)
    counts = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
    return np.append(counts, missing.sum()) / len(values)
