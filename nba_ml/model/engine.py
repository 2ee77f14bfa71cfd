"""Who trained a model, where that was not one process."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
