"""The interface of a prediction system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nba_ml.contract.features import FeatureVersion
from nba_ml.model.calibration import Calibration

if TYPE_CHECKING:  # the prediction worker imports this module, and has no Arrow
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Floats]
"""Feature name -> values (n,), in the contract's units, NaN for missing."""


@dataclass(frozen=True, slots=True)
class TrainingExtent:
    """How far a system's training data extends.

    `fitted_until` is the last date used for fitting or early stopping. `given_until` is the last date of all its rows,
    including those held out, which may have influenced the choice of the model.
    """

    fitted_until: date
    given_until: date


NOTHING = TrainingExtent(date.min, date.min)
"""The extent of a rule, which is not trained."""


class PredictionSystem(Protocol):
    """Predicts points from feature columns. `version` is the model's id; `newest_month` is '' for a rule;
    `features` are the columns that it reads.

    `calibration` is None if the system has no interval: then it has no probability and no confidence either.
    """

    @property
    def system_id(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def model_type(self) -> str: ...

    @property
    def model_sha256(self) -> str: ...

    @property
    def newest_month(self) -> str: ...

    @property
    def features(self) -> FeatureVersion: ...

    @property
    def extent(self) -> TrainingExtent: ...

    @property
    def calibration(self) -> Calibration | None: ...

    def predict(self, columns: Columns) -> Floats:
        """The system's raw output (n,), in points; NaN where it cannot predict.

        Raises:
            KeyError: a feature is missing from the columns.
        """
        ...


def columns_of(rows: pa.Table, version: FeatureVersion) -> dict[str, Floats]:
    """The feature columns of snapshot rows (`tables.snapshot_schema`)."""
    return {name: np.asarray(rows.column(name).to_numpy(), dtype=np.float64) for name in version.names}


def matrix_of(columns: Columns, version: FeatureVersion) -> npt.NDArray[np.float32]:
    """Feature vectors (n, features) in the contract's order, in float32 like the training data."""
    return np.column_stack([columns[name] for name in version.names]).astype(np.float32)
