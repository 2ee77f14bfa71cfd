"""Who trains: one process, in memory, unless an engine is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from nba_ml.data.split import SplitManifest

if TYPE_CHECKING:
    from nba_ml.model.fitting import FittedBooster, Hyperparameters


class TrainingEngine(BaseModel):
    """What trained a model, where that was not one process: a part of its record, and of its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["dask"]
    workers: int = Field(ge=1, description="that had rows; another number gives another booster")
    byte_reproducible: Literal[False] = Field(
        False, description="whether the same rows and parameters give the same bytes, whatever machine trains"
    )

    @property
    def segment(self) -> str:
        """Its part of a model id: `dask2`."""
        return f"{self.name}{self.workers}"


class Engine(Protocol):
    """Trains on the rows of a split, wherever it reads them."""

    def fit(self, split: SplitManifest, parameters: Hyperparameters) -> tuple[FittedBooster, bytes]:
        """The booster fitted on the split's train side, and the one to ship: as `fitting.fit` and `fitting.fit_all`."""
        ...
