"""What a prediction system is: a name, a version, points for feature columns, and how far back it has looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nba_ml.contract.features import FeatureVersion
from nba_ml.model.uncertainty import Calibration

if TYPE_CHECKING:  # the prediction worker imports this module, and has no Arrow
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Floats]
"""Feature name -> values (n,), in the contract's units, NaN for missing."""


@dataclass(frozen=True, slots=True)
class TrainingExtent:
    """Which games a system owes itself to.

    `fitted` is the last date that fitting or early stopping looked at: nothing after it shaped a prediction.
    `given` is the last date of all its rows, those held out included, which somebody may have looked at to choose it.
    """

    fitted: date
    given: date


NOTHING = TrainingExtent(date.min, date.min)
"""What a rule has seen."""


class PredictionSystem(Protocol):
    """Points for feature columns. `version` names the very model; `newest_month` is '' for a rule.

    `calibration` is None where the system has no interval: then it has no probability and no confidence either.
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
    def seen(self) -> TrainingExtent: ...

    @property
    def calibration(self) -> Calibration | None: ...

    def predict(self, columns: Columns) -> Floats:
        """Points (n,) as the system puts them out, NaN where it has nothing to go by.

        Raises:
            KeyError: a feature is not among the columns.
        """
        ...


def columns_of(rows: pa.Table, version: FeatureVersion) -> dict[str, Floats]:
    """The feature columns of snapshot rows (`tables.snapshot_schema`)."""
    return {name: np.asarray(rows.column(name).to_numpy(), dtype=np.float64) for name in version.names}


def matrix_of(columns: Columns, version: FeatureVersion) -> npt.NDArray[np.float32]:
    """Feature vectors (n, features) in the contract's order, as models are fitted on: float32."""
    return np.column_stack([columns[name] for name in version.names]).astype(np.float32)
