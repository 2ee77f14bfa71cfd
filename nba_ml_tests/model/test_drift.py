"""PSI: nothing for the same population, the textbook's value for a shift, and a bin of its own for the missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.model.drift import population_stability_index

VALUES = st.lists(st.floats(-100, 100) | st.just(math.nan), min_size=1, max_size=200).map(np.array)


@given(VALUES, VALUES)
def test_it_is_never_negative_and_zero_for_the_same_rows(reference: np.ndarray, values: np.ndarray) -> None:
    """Guards against a sign, a division by an empty bin, and a population that differs from itself."""
    assert population_stability_index(reference, reference) == pytest.approx(0.0, abs=1e-12)
    assert 0.0 <= population_stability_index(reference, values) < 25.0


def test_two_halves_that_become_three_to_one() -> None:
    """Guards against shares the wrong way round: (0.75 - 0.5) ln 1.5 + (0.25 - 0.5) ln 0.5, by hand."""
    reference, values = np.repeat([0.0, 1.0], 50), np.repeat([0.0, 1.0], [75, 25])
    expected = 0.25 * math.log(1.5) - 0.25 * math.log(0.5)
    assert population_stability_index(reference, values) == pytest.approx(expected)


def test_values_that_went_missing_are_a_shift() -> None:
    """Guards against a source that ended and leaves the distribution of what is there as it was."""
    reference = np.arange(1000.0)
    gone = np.where(np.arange(1000) % 5 == 0, np.nan, reference)
    # By hand: ten bins of 0.1 that hold 0.08, and a bin of nothing (0.0001) that holds 0.2.
    expected = 10 * (0.08 - 0.1) * math.log(0.8) + (0.2 - 0.0001) * math.log(0.2 / 0.0001)
    assert population_stability_index(reference, gone) == pytest.approx(expected, rel=1e-6)
    assert population_stability_index(np.full(10, np.nan), np.full(10, np.nan)) == 0.0


def test_no_rows_have_no_distribution() -> None:
    """Guards against a month without rows that is called stable."""
    with pytest.raises(ValueError, match="without rows"):
        population_stability_index(np.arange(5.0), np.empty(0))
    with pytest.raises(ValueError, match="without rows"):
        population_stability_index(np.empty(0), np.arange(5.0))
