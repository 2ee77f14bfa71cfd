"""What the service answers, as Pydantic types: answers are written by them, and the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainSerializer, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from nba_ml.serving.prediction import ExplainedPrediction, Prediction
from nba_ml.serving.rows import Fault

Time = Annotated[
    datetime, PlainSerializer(datetime.isoformat), WithJsonSchema({"type": "string", "format": "date-time"})
]


class Predictions(TypedDict):
    """The answer to a slate, in the order of its rows."""

    predictions: list[Prediction]


class ExplainedPredictions(TypedDict):
    """The answer to a slate with `?explain=1`, in the order of its rows."""

    predictions: list[ExplainedPrediction]


PREDICTION: TypeAdapter[Prediction] = TypeAdapter(Prediction)
EXPLAINED: TypeAdapter[ExplainedPrediction] = TypeAdapter(ExplainedPrediction)
EXPLAINED_SLATE: TypeAdapter[ExplainedPredictions] = TypeAdapter(ExplainedPredictions)
PREDICTIONS: TypeAdapter[Predictions] = TypeAdapter(Predictions)


MEANINGS = {
    "system_id": "The system that served this prediction; in a rollout it may be the challenger.",
    "model_version": "The model's id.",
    "model_type": "xgboost, catboost, lightgbm, rule or mock.",
    "model_sha256": "Digest of the model; empty for a rule.",
    "feature_version": "The contract of the features.",
    "player_lookup": "As in the row; null if it gave none.",
    "game_date": "As in the row; null if it gave none.",
    "game_id": "As in the row; null if it gave none.",
    "predicted_points": "The median: the player is as likely to score more as less. 0 to 60, two decimals. With a line "
    "it lies between the line and model_points, by how far the model's disagreements with lines have proved right.",
    "model_points": "The model's own number; the same as predicted_points where there is no line.",
    "points_low": "80% of results lie between points_low and points_high.",
    "points_high": "The upper end of that interval.",
    "points_low_90": "90% of results lie between points_low_90 and points_high_90.",
    "points_high_90": "The upper end of that interval.",
    "points_quantiles": "The points that 5%, 10% and so on to 95% of results lie below: 19 numbers, which never fall. "
    "They give the probability for any other line: that of more than 20 points, or than 20.5, is 1 minus the level at "
    "20.5, linear between the quantiles.",
    "over_probability": "Probability, 0 to 1, that the player scores more than the line: of 100 games with 0.53, about "
    "53 end above it. An exact hit of a whole-number line (a push) is neither over nor under. Calibrated on earlier "
    "results: how far they were from the prediction, and how often the line was nearer. The book's odds and margin are "
    "not in it. null without a line or an interval.",
    "push_probability": "Probability, 0 to 1, of exactly as many points as the line; 0 for a line on a half point.",
    "confidence_score": "0 to 100: the probability, in percent, of the predicted side of the line; without a line, "
    "of a result within 5 points of the prediction.",
    "current_points_line": "The betting line of the row; null without one.",
    "line_margin": "predicted_points minus the line; null without one.",
    "recommendation": "OVER, UNDER, PASS or NO_LINE.",
}
"""What the fields of a prediction mean."""

EXPLANATION = (
    "What each feature contributes, in points: `base` and all `contributions` add up to `model_output`, `model_points` "
    "before it is bounded and rounded. The interval and the line are not part of it. `unavailable` says why there is "
    "none: a rule has no contributions."
)


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
