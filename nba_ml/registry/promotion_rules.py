"""Whether a candidate becomes the champion, judged on rows that neither model was trained on.

On the day that a month's model is published there are no later games, and the published booster was fitted on all
rows. So the comparison uses the first of these that is possible, and the evidence says which:

- `out_of_time`: the published models, on games after the data of both. Used whenever there are enough, for example for
  a champion of May and a candidate of June once July or October has been played.
- `held_out`: not the published boosters but the ones that their metrics were measured with, each fitted on the train
  side of its split, on games after all rows that were used to fit or stop either. It compares what the training recipe
  makes of the two months' data.
- `mixed`: the published champion against the candidate's measured booster, on games after the champion's data and after
  the rows used to fit or stop that booster. Used if the store does not have the champion's measured booster. The
  champion was trained on newer games than its opponent, so the test is harder for the candidate, and it is the serving
  model that is compared.

No comparison contains a game that was used to train either side, and none trains a model: training stores the booster
that it measured.

This module selects the rows, compares, and applies the conditions. `registry.promotion` reads models and months;
`channel` holds the pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.metrics import FEWEST_DAYS, interval_over_days, measure
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import Channel, Evidence
from nba_ml.registry.systems.interface import Floats, PredictionSystem, columns_of

Unseen = Literal["out_of_time", "held_out", "mixed"]


@dataclass(frozen=True, slots=True)
class ComparisonRows:
    """Snapshot rows that are new to both of two systems, and why (see `Evidence.unseen`)."""

    table: pa.Table
    unseen: Unseen


def out_of_time_rows(
    champion: PredictionSystem, candidate: PredictionSystem, snapshots: Sequence[pa.Table], fewest: int
) -> ComparisonRows | None:
    """The rows of some months (`tables.snapshot_schema`) after the data of both systems.

    None if there are fewer than `fewest` rows or 5 dates.
    """
    later = _after(snapshots, max(champion.extent.given_until, candidate.extent.given_until))
    enough = later.num_rows >= fewest and _dates(later) >= FEWEST_DAYS
    return ComparisonRows(later, "out_of_time") if enough else None


def held_out_rows(
    champion: PredictionSystem, candidate: PredictionSystem, snapshots: Sequence[pa.Table]
) -> ComparisonRows:
    """The rows after those that were used to fit or stop either system; may be empty."""
    last = max(champion.extent.fitted_until, candidate.extent.fitted_until)
    return ComparisonRows(_after(snapshots, last), "held_out")


def mixed_rows(champion: PredictionSystem, measured: PredictionSystem, snapshots: Sequence[pa.Table]) -> ComparisonRows:
    """The rows after the published champion's data and after those that the candidate's measured booster was fitted or
    stopped on; may be empty."""
    return ComparisonRows(_after(snapshots, max(champion.extent.given_until, measured.extent.fitted_until)), "mixed")


def later_rows(
    champion: PredictionSystem, candidate: PredictionSystem, snapshots: Sequence[pa.Table], first: date, last: date
) -> ComparisonRows:
    """The out-of-time rows from `first` to `last`, both inclusive. A rollout is judged on these."""
    later = _after(snapshots, max(champion.extent.given_until, candidate.extent.given_until))
    dates = later.column("game_date")
    return ComparisonRows(
        later.filter(pc.and_(pc.greater_equal(dates, first), pc.less_equal(dates, last))), "out_of_time"
    )


def too_few(rows: ComparisonRows, fewest: int) -> str | None:
    """Why the rows are too few for a comparison; None if there are `fewest` rows on 5 dates."""
    return too_few_rows(rows.table.num_rows, _dates(rows.table), fewest)


def too_few_rows(rows: int, days: int, fewest: int) -> str | None:
    """The same for numbers of rows and dates."""
    if rows >= fewest and days >= FEWEST_DAYS:
        return None
    return (
        f"a comparison needs {fewest:,} rows on {FEWEST_DAYS} dates that are new to both, and there are {rows:,} on "
        f"{days}"
    )


def _dates(table: pa.Table) -> int:
    return len(table.column("game_date").unique())


def _after(snapshots: Sequence[pa.Table], day: date) -> pa.Table:
    if not snapshots:
        return pa.table({"game_date": pa.array([], pa.date32())})
    table = pa.concat_tables(snapshots)
    return table.filter(pc.greater(table.column("game_date"), pa.scalar(day, pa.date32())))


def compare_systems(
    champion: PredictionSystem,
    candidate: PredictionSystem,
    rows: ComparisonRows,
    margin: float,
) -> Evidence | None:
    """Compare both systems' published points on the same rows; None if there is no row on which both have a value.

    The gain is paired by row: the champion's absolute error minus the candidate's. What makes a night hard to predict
    for both cancels out.

    Raises:
        BundleError: a model's output is infinite.
    """
    if not rows.table.num_rows:
        return None
    ours, theirs = (each.predict(columns_of(rows.table, each.features)) for each in (champion, candidate))
    known = ~(np.isnan(ours) | np.isnan(theirs))
    if not known.any():
        return None
    return evidence_of(
        (champion.version, publish_points(ours[known])),
        (candidate.version, publish_points(theirs[known])),
        ComparisonRows(rows.table.filter(pa.array(known)), rows.unseen),
        margin,
    )


def evidence_of(
    champion: tuple[str, Floats], candidate: tuple[str, Floats], rows: ComparisonRows, margin: float
) -> Evidence:
    """Evidence from two systems' names and published points (n,), on the same n rows (at least one)."""
    (one, ours), (other, theirs) = champion, candidate
    points: Floats = rows.table.column("points").to_numpy()
    days = rows.table.column("game_date").to_numpy().astype("datetime64[D]")
    gain = np.abs(ours - points) - np.abs(theirs - points)
    interval, measured = interval_over_days(gain, days), measure(theirs, points)
    return Evidence(
        champion=one,
        candidate=other,
        unseen=rows.unseen,
        first=days.min().item(),
        last=days.max().item(),
        rows=len(points),
        days=len(np.unique(days)),
        champion_mae=measure(ours, points).mae,
        candidate_mae=measured.mae,
        gain=round(float(gain.mean()), 6) + 0.0,
        low=interval.low,
        high=interval.high,
        champion_bias=measure(ours, points).bias,
        bias=measured.bias,
        margin=margin,
    )


class Condition(BaseModel):
    """A condition for a candidate, whether it is met, and the numbers. `waived`: a person waived it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    met: bool
    detail: str
    waived: bool = False

    @property
    def blocks(self) -> bool:
        """Neither met nor waived."""
        return not (self.met or self.waived)


def describe_conditions(conditions: Sequence[Condition]) -> str:
    """All conditions with their numbers, the blocking ones first."""
    groups = (
        ("Not met", [c for c in conditions if c.blocks]),
        ("Waived", [c for c in conditions if c.waived and not c.met]),
        ("Met", [c for c in conditions if c.met]),
    )
    return ". ".join(f"{how}: " + "; ".join(f"{c.name}: {c.detail}" for c in group) for how, group in groups if group)


class PromotionDecision(BaseModel):
    """Whether a candidate becomes the champion, and why. `beaten` is as in `Channel`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    champion: str | None
    conditions: tuple[Condition, ...]
    evidence: Evidence | None
    beaten: Evidence | None = None

    @property
    def promoted(self) -> bool:
        """Whether no condition blocks it."""
        return not any(condition.blocks for condition in self.conditions)

    @property
    def waived(self) -> tuple[str, ...]:
        """The unmet conditions that a person waived."""
        return tuple(condition.name for condition in self.conditions if condition.waived and not condition.met)

    @property
    def reason(self) -> str:
        """The decision as text; a refusal lists all conditions."""
        if not self.promoted:
            return f"{self.candidate} does not become the champion. {describe_conditions(self.conditions)}."
        return f"{self.candidate} becomes the champion: {'; '.join(c.detail for c in self.conditions)}."


WAIVABLE = ("newer", "not_set_aside", "grade", "bias")
"""The conditions that a person may waive, with a reason. A complete bundle and a passing verdict are prerequisites, not
conditions."""


class Backtest(BaseModel):
    """An external model's results on stored rows after its training data.

    `evidence` compares it with the season average; None if there is no row on which both have a value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    conditions: tuple[Condition, ...]
    evidence: Evidence | None

    @property
    def passed(self) -> bool:
        """Whether every condition is met, but for a waived one."""
        return not any(condition.blocks for condition in self.conditions)

    def waive(self, names: Sequence[str]) -> Backtest:
        """The same with the named conditions waived."""
        conditions = tuple(c.model_copy(update={"waived": c.name in names}) for c in self.conditions)
        return self.model_copy(update={"conditions": conditions})

    @property
    def too_few(self) -> bool:
        """Whether there are too few rows for a result."""
        return any(condition.name == "unseen_rows" and condition.blocks for condition in self.conditions)

    @property
    def summary(self) -> str:
        """Every condition with its value and its limit, unmet conditions first."""
        return describe_conditions(self.conditions)


def decide_promotion(
    present: Channel | None,
    champion: PredictionSystem | None,
    candidate: PredictionSystem,
    compare: Callable[[], Evidence | str],
    limits: Thresholds,
    waived: Sequence[str] = (),
    backtest: Callable[[], Backtest] | None = None,
) -> PromotionDecision:
    """Apply the conditions to a candidate that was already verified.

    - `not_set_aside`: it was not rolled back, and no rollout of it was stopped.
    - `newer`: it was trained on later games than the champion. So a backfilled old month does not replace the champion,
      but this week's model of the current month replaces last week's.
    - `grade`: on enough rows that are new to both, the low end of the paired gain's 95% interval is at least -margin.
    - `bias`: its bias on those rows is within bounds, or no further from 0 than the champion's.
    - `no_rollout`: no rollout serves anybody; one in shadow ends. Cannot be waived.
    - those of `registry.external`, for an external model; `backtest` has a person's waiver of one of them.

    `compare` returns the evidence, or why there is none. It and `backtest` (None for our own models) take seconds and
    are called only if no other condition blocks. The first champion needs no comparison: a passing verdict is enough,
    or for an external model the backtest.
    """
    if present is None or champion is None:
        if backtest is not None:
            first, proof = Condition(name="first", met=True, detail="there is no champion yet"), backtest()
            return PromotionDecision(
                candidate=candidate.version,
                champion=None,
                conditions=(first, *proof.conditions),
                evidence=proof.evidence,
            )
        first = Condition(name="verdict", met=True, detail="it is the first, and its checks passed")
        return PromotionDecision(candidate=candidate.version, champion=None, conditions=(first,), evidence=None)

    def with_waivers(*conditions: Condition) -> tuple[Condition, ...]:
        return tuple(c.model_copy(update={"waived": c.name in waived and c.name in WAIVABLE}) for c in conditions)

    conditions = with_waivers(_no_rollout(present), _not_set_aside(present, candidate), _newer(champion, candidate))
    evidence: Evidence | None = None
    if backtest is not None and not any(condition.blocks for condition in conditions):
        conditions += backtest().conditions
    if not any(condition.blocks for condition in conditions):
        compared = compare()
        evidence = compared if isinstance(compared, Evidence) else None
        conditions += with_waivers(_grade(compared, limits), *([_bias(evidence, limits)] if evidence else []))
    return PromotionDecision(
        candidate=candidate.version, champion=champion.version, conditions=conditions, evidence=evidence
    )


def _no_rollout(present: Channel) -> Condition:
    if present.challenger is None or not present.rolling_out:
        return Condition(name="no_rollout", met=True, detail="no rollout is in progress")
    name = present.challenger.model_id
    if present.share:
        detail = f"{name} is being rolled out at {present.share}%: advance or stop it first"
        return Condition(name="no_rollout", met=False, detail=detail)
    # It answers nobody yet, and the next grades may come too late for a champion that has to be replaced.
    return Condition(name="no_rollout", met=True, detail=f"{name} is in shadow: its rollout ends with this promotion")


def _newer(champion: PredictionSystem, candidate: PredictionSystem) -> Condition:
    return Condition(
        name="newer",
        met=candidate.extent.given_until > champion.extent.given_until,
        detail=f"it was trained on games up to {candidate.extent.given_until}, the champion up to "
        f"{champion.extent.given_until}",
    )


def _not_set_aside(present: Channel, candidate: PredictionSystem) -> Condition:
    met = candidate.version not in present.set_aside
    detail = "it was never set aside" if met else "it was rolled back, or its rollout was stopped"
    return Condition(name="not_set_aside", met=met, detail=detail)


def _grade(compared: Evidence | str, limits: Thresholds) -> Condition:
    if isinstance(compared, str):
        return Condition(name="grade", met=False, detail=compared)
    missing = too_few_rows(compared.rows, compared.days, limits.min_rows_to_promote)
    if missing is not None:
        return Condition(name="grade", met=False, detail=missing)
    return Condition(name="grade", met=compared.low >= -limits.promotion_margin, detail=describe_evidence(compared))


def _bias(evidence: Evidence, limits: Thresholds) -> Condition:
    low, high = limits.bias
    detail = (
        f"bias {evidence.bias:+.2f}, the champion's {evidence.champion_bias:+.2f}, allowed {low:+.1f} to {high:+.1f}"
    )
    return Condition(name="bias", met=not evidence.biased(limits.bias), detail=detail)


def describe_evidence(evidence: Evidence) -> str:
    """The comparison as text."""
    how = {
        "out_of_time": "after the data of both",
        "held_out": "held out from both",
        "mixed": "after the champion's data and held out from the candidate",
    }[evidence.unseen]
    return (
        f"MAE {evidence.candidate_mae:.3f} against {evidence.champion_mae:.3f} on {evidence.rows:,} rows {how} "
        f"({evidence.first} to {evidence.last}), gain {evidence.gain:+.3f} ({evidence.low:+.3f} to "
        f"{evidence.high:+.3f}), at least {-evidence.margin:+.2f} required"
    )
