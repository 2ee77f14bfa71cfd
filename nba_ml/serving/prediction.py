"""A prediction as the platform keeps it: the columns of `data.tables.PREDICTIONS`, one record at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict

from nba_ml.contract.errors import BundleError, FeatureRowsError
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.model.calibration import Calibration
from nba_ml.model.recommendation import NO_LINE, PASS
from nba_ml.model.spread import Spread
from nba_ml.registry.systems.published import system_columns
from nba_ml.serving.rows import FeatureRows


class LineChances(TypedDict):
    """The probabilities that a player scores more points than a line, exactly as many, and fewer."""

    line: float
    over: float
    push: float
    under: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Points that a player will score in a game, compared with the betting line.

    `predicted_points` has two decimals and lies within 0 and 60. With a line it lies between the line and
    `model_points`, the model's own number, by the share of the model's disagreements that have proved right; without a
    line the two are equal. `points_low` to `points_high` holds 80% of the results, `points_low_90` to `points_high_90`
    90%; `points_quantiles` are those at 0.05, 0.10 to 0.95. `confidence_score` is 0 to 100, `over_probability` and
    `push_probability` (exactly the line) are 0 to 1. Without a line these two, `current_points_line` and `line_margin`
    (prediction minus line) are None. `model_sha256` is the digest of the
    model that served this record, '' for a rule; `model_type` is 'xgboost', 'catboost', 'lightgbm', 'rule' or 'mock'.
    A system without an interval has None in all that comes from one, and recommends no bet; a rule has None for the
    points too if it has no data. The keys are None if the row did not
    give them.
    """

    system_id: str
    model_version: str
    model_type: str
    model_sha256: str
    feature_version: str
    player_lookup: str | None
    game_date: date | None
    game_id: str | None
    predicted_points: float | None
    model_points: float | None
    points_low: float | None
    points_high: float | None
    points_low_90: float | None
    points_high_90: float | None
    points_quantiles: list[float] | None
    over_probability: float | None
    push_probability: float | None
    confidence_score: float | None
    current_points_line: float | None
    line_margin: float | None
    recommendation: str

    def at_lines(self, lines: Sequence[float]) -> list[LineChances]:
        """The probabilities for any lines of this player, such as alternate ones, given the line of the record.

        For the record's own line they are those of the record; models published by older versions, which had no
        quantiles, may differ by up to 0.01.

        Raises:
            BundleError: the record has no quantiles, because its system has no interval.
            FeatureRowsError: a line is missing or infinite.
        """
        if self.points_quantiles is None:
            raise BundleError(
                f"{self.model_version} has no interval, so there are no probabilities for lines. Use one that has."
            )
        at = np.asarray(lines, dtype=np.float64)
        if not np.isfinite(at).all():
            position = int(np.flatnonzero(~np.isfinite(at))[0])
            raise FeatureRowsError(f"Line {position} is {lines[position]}, not a number of points. Leave it out.")
        spread = Spread.published(np.tile(self.points_quantiles, (len(at), 1)))
        over, push = np.round(spread.over(at), 4).tolist(), np.round(spread.push(at), 4).tolist()
        return [
            LineChances(line=line, over=more, push=same, under=round(1 - more - same, 4))
            for line, more, same in zip(at.tolist(), over, push, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """The record with JSON's types: the date as `YYYY-MM-DD`."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**content, "game_date": None if self.game_date is None else self.game_date.isoformat()}


class Explanation(TypedDict):
    """What each feature contributes to a model's output, in points.

    `base` is the model's mean output over its training; `base` and all `contributions` add up to `model_output`, but
    for float32's rounding. `model_points` is that output within 0 and 60, with two decimals.
    """

    model_output: float
    base: float
    contributions: dict[str, float]


class Unexplained(TypedDict):
    """Why a prediction has no contributions."""

    unavailable: str


@dataclass(frozen=True, slots=True)
class ExplainedPrediction(Prediction):
    """A prediction with what each feature contributed to it."""

    explanation: Explanation | Unexplained


def explained(prediction: Prediction, explanation: Explanation | Unexplained) -> ExplainedPrediction:
    """The prediction with its explanation."""
    values = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    return ExplainedPrediction(**values, explanation=explanation)


def explanations(parts: npt.NDArray[np.floating], version: FeatureVersion) -> list[Explanation]:
    """Explanations of contributions (n, features + 1): the features in the version's order, then the base."""
    values = np.asarray(parts, dtype=np.float64)
    return [
        Explanation(
            model_output=round(float(row.sum()), 6),
            base=round(float(row[-1]), 6),
            contributions=dict(zip(version.names, np.round(row[:-1], 6).tolist(), strict=True)),
        )
        for row in values
    ]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The fields of a record that identify its model."""

    system_id: str
    model_version: str
    model_type: str
    model_sha256: str
    feature_version: str


def make_records(
    raw: npt.NDArray[np.floating],
    line: npt.NDArray[np.float64],
    rows: FeatureRows,
    who: ModelIdentity,
    spread: Calibration | None,
) -> list[Prediction]:
    """The records of a model's output (n,) for n rows with lines (n,), NaN without one; `spread` None has no interval.

    Raises:
        BundleError: an output, or an end of its interval, is not finite.
    """
    columns = system_columns(raw, line, spread)
    identity = (who.system_id, who.model_version, who.model_type, who.model_sha256, who.feature_version)
    keys = zip(rows.player_lookup, rows.game_date, rows.game_id, strict=True)
    values: list[Sequence[Any]] = [*_values([columns[name] for name in _NUMBERS], who)]
    values.append(columns["recommendation"].tolist())
    values.insert(_NUMBERS.index("over_probability"), [None] * len(raw) if spread is None else _quantiles(columns, who))
    return [Prediction(*identity, *key, *value) for key, value in zip(keys, zip(*values, strict=True), strict=True)]


_NUMBERS = (
    "predicted_points",
    "model_points",
    "points_low",
    "points_high",
    "points_low_90",
    "points_high_90",
    "over_probability",
    "push_probability",
    "confidence_score",
    "current_points_line",
    "line_margin",
)
"""In the order of a record, in which the quantiles are before `over_probability`, and the recommendation is last."""


def _quantiles(columns: Mapping[str, npt.NDArray[np.generic]], who: ModelIdentity) -> list[list[float]]:
    """The quantiles (n, 19) as Python's own lists."""
    table = np.array([columns[name] for name in QUANTILE_COLUMNS]).T
    if not np.isfinite(table).all():
        _refuse("a quantile", who)
    found: list[list[float]] = table.tolist()
    return found


def unpredicted(rows: FeatureRows, who: ModelIdentity) -> Prediction:
    """The record of one row that a rule cannot predict: the model, the row's keys and line, and no number."""
    line = float(rows.features[0, rows.version.index("vegas_points_line")])
    return Prediction(
        system_id=who.system_id,
        model_version=who.model_version,
        model_type=who.model_type,
        model_sha256=who.model_sha256,
        feature_version=who.feature_version,
        player_lookup=rows.player_lookup[0],
        game_date=rows.game_date[0],
        game_id=rows.game_id[0],
        predicted_points=None,
        model_points=None,
        points_low=None,
        points_high=None,
        points_low_90=None,
        points_high_90=None,
        points_quantiles=None,
        over_probability=None,
        push_probability=None,
        confidence_score=None,
        current_points_line=None if math.isnan(line) else line,
        line_margin=None,
        recommendation=NO_LINE if math.isnan(line) else PASS,
    )


def _values(columns: Sequence[npt.NDArray[np.generic]], who: ModelIdentity) -> list[list[float | None]]:
    """Python's own values of `_NUMBERS`; NaN is None. JSON has no infinity, and none is written as null."""
    table = np.array(columns, dtype=np.float64)
    if (infinite := np.isinf(table).any(axis=1)).any():
        _refuse(_NUMBERS[int(infinite.argmax())], who)
    own = table.astype(object)
    own[np.isnan(table)] = None
    values: list[list[float | None]] = own.tolist()
    return values


def _refuse(name: str, who: ModelIdentity) -> NoReturn:
    raise BundleError(f"{who.model_version}: {name} is infinite. Nothing was predicted: roll back to another model.")
