"""What the service answers, as Pydantic types: answers are written by them, and the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainSerializer, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from nba_ml.serving.prediction import Prediction
from nba_ml.serving.rows import Fault

Time = Annotated[
    datetime, PlainSerializer(datetime.isoformat), WithJsonSchema({"type": "string", "format": "date-time"})
]


class Predictions(TypedDict):
    """The answer to a slate, in the order of its rows."""

    predictions: list[Prediction]


PREDICTION: TypeAdapter[Prediction] = TypeAdapter(Prediction)
PREDICTIONS: TypeAdapter[Predictions] = TypeAdapter(Predictions)


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `errors` is present for rows that break the contract."""

    type: Literal["about:blank"]
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, the limit, and what to do.")
    errors: list[Fault] = Field(default=[], description="The first 50 faults of the rows.")


class ServedModel(BaseModel):
    """The model that serves."""

    system_id: str
    model_type: str
    model_id: str
    model_sha256: str
    feature_version: str
    newest_month: str


class ChannelHealth(BaseModel):
    """The channel that the service follows, and its last refresh."""

    serial: int | None
    challenger: str | None
    challenger_type: str | None
    share: int = Field(description="Percent of player-games that the challenger serves.")
    following: bool = Field(description="Whether the thread that reads the channel is alive.")
    overdue: bool = Field(description="Whether no read has succeeded for two refresh intervals and 10 seconds.")
    channel: str
    seconds: float = Field(description="Between two reads of the channel.")
    checked_at: Time | None
    swapped_at: Time | None
    failure: str | None = Field(description="Why the last refresh failed.")
    failed_at: Time | None
    failures: int = Field(description="Failed refreshes in a row.")
    failures_ever: int = Field(description="Failed refreshes since the service started.")


class Health(BaseModel):
    """The answer of `/health`."""

    status: Literal["ok", "degraded"]
    loaded: Literal[True]
    verified: Literal[True]
    model: ServedModel
    loaded_at: Time
    age_seconds: float
    uptime_seconds: float
    xgboost: str
    channel: ChannelHealth | None
