"""Whether a candidate becomes the champion, on rows that neither has learnt from.

The rows. On the day that a month's model is published there is no later game, and what is published was fitted on
every row there is. So there are three honest comparisons, taken in this order, and the evidence says which it was:

- `out_of_time`: the published models on games after the last row that either was given. Taken whenever there are
  enough: a champion of May and a candidate of June, once July or October is played.
- `held_out`: not the published boosters but the ones that their records were measured by, each fitted on the train
  side of its split, on games after the last row that shaped either, by fitting or by stopping. It compares what the
  two months' data make of the recipe.
- `mixed`: the champion as published against the booster that the candidate was measured by, on games after all that
  the champion was given and all that shaped that booster. Taken where the champion's own measured booster cannot be
  made again, because rows that it was fitted on were corrected since. The champion has learnt from newer games than
  its opponent here, so whoever passes has passed the harder test; and what serves is compared, not what the corrected
  rows would make of it.

A game that shaped either side is in none of them, so a candidate that has seen more games has no row to remember, and
a published booster is never asked about a game that it was fitted on.

What belongs here: the rows, the paired comparison, the conditions. What does not: reading models and months
(`registry.promotion`), moving the pointer (`channel`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.features import FeatureVersion
from nba_ml.model.metrics import interval_over_days, measure
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import Channel, Evidence
from nba_ml.registry.systems.interface import Floats, PredictionSystem, columns_of

if TYPE_CHECKING:
    from nba_ml.registry.external import Backtest

FEWEST_DAYS = 5
"""Game dates: an interval over fewer days is made of too few draws to mean anything."""

Unseen = Literal["out_of_time", "held_out", "mixed"]


@dataclass(frozen=True, slots=True)
class ReleaseLimits:
    """What a candidate is held to.

    `margin`, in points of MAE: how much worse the low end of the gain's interval may be. `rows`: the fewest that a
    comparison speaks on. `bias`: bounds of the candidate's mean of prediction minus result.
    """

    margin: float
    rows: int
    bias: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ComparisonRows:
    """Snapshot rows that neither of two systems has learnt from, and in which sense."""

    table: pa.Table
    unseen: Unseen


def out_of_time_rows(
    champion: PredictionSystem, candidate: PredictionSystem, snapshots: Sequence[pa.Table], fewest: int
) -> ComparisonRows | None:
    """The rows of some months (`tables.snapshot_schema`) after everything that either system was given.

    None if they are fewer than `fewest`, or on fewer than 5 dates.
    """
    later = _after(snapshots, max(champion.seen.given, candidate.seen.given))
    enough = later.num_rows >= fewest and _dates(later) >= FEWEST_DAYS
    return ComparisonRows(later, "out_of_time") if enough else None


def held_out_rows(
    champion: PredictionSystem, candidate: PredictionSystem, snapshots: Sequence[pa.Table]
) -> ComparisonRows:
    """The rows after everything that shaped either system; possibly none."""
    return ComparisonRows(_after(snapshots, max(champion.seen.fitted, candidate.seen.fitted)), "held_out")


def mixed_rows(champion: PredictionSystem, measured: PredictionSystem, snapshots: Sequence[pa.Table]) -> ComparisonRows:
    """The rows after everything that the champion was given, as published, and everything that shaped the booster
    that the candidate was measured by; possibly none."""
    return ComparisonRows(_after(snapshots, max(champion.seen.given, measured.seen.fitted)), "mixed")


def rows_later_than(
    champion: PredictionSystem, candidate: PredictionSystem, snapshots: Sequence[pa.Table], first: date, last: date
) -> ComparisonRows:
    """The out-of-time rows of dates from `first` to `last`, both inclusive: what a rollout is judged on."""
    later = _after(snapshots, max(champion.seen.given, candidate.seen.given))
    dates = later.column("game_date")
    return ComparisonRows(
        later.filter(pc.and_(pc.greater_equal(dates, first), pc.less_equal(dates, last))), "out_of_time"
    )


def too_few(rows: ComparisonRows, fewest: int) -> str | None:
    """What is missing to a comparison in words; None if there are `fewest` rows on 5 dates."""
    return _too_few(rows.table.num_rows, _dates(rows.table), fewest)


def _too_few(rows: int, days: int, fewest: int) -> str | None:
    if rows >= fewest and days >= FEWEST_DAYS:
        return None
    return (
        f"a comparison needs {fewest:,} rows on {FEWEST_DAYS} dates that neither has learnt from, and has {rows:,} on "
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
    version: FeatureVersion,
) -> Evidence | None:
    """Both systems' published points on the same rows; None if there is no row for which both have a value.

    The gain is paired, row by row: the champion's absolute error minus the candidate's, so what makes a night hard
    for both cancels out.

    Raises:
        BundleError: a model's output is infinite.
    """
    if not rows.table.num_rows:
        return None
    columns = columns_of(rows.table, version)
    ours, theirs = champion.predict(columns), candidate.predict(columns)
    there = ~(np.isnan(ours) | np.isnan(theirs))
    if not there.any():
        return None
    points: Floats = rows.table.column("points").to_numpy()[there]
    days = rows.table.column("game_date").to_numpy().astype("datetime64[D]")[there]
    ours, theirs = publish_points(ours[there]), publish_points(theirs[there])
    gain = np.abs(ours - points) - np.abs(theirs - points)
    interval, measured = interval_over_days(gain, days), measure(theirs, points)
    return Evidence(
        champion=champion.version,
        candidate=candidate.version,
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
    """One thing that a candidate must be, whether it is, and the numbers. `waived`: a person let it pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    met: bool
    said: str
    waived: bool = False

    @property
    def stands_in_the_way(self) -> bool:
        """Neither met nor waived."""
        return not (self.met or self.waived)


def listed(conditions: Sequence[Condition]) -> str:
    """Every condition in words, those that stand in the way first."""
    against = "; ".join(f"{c.name}: {c.said}" for c in conditions if c.stands_in_the_way)
    waived = "; ".join(f"{c.name}: {c.said}" for c in conditions if c.waived and not c.met)
    passed = "; ".join(f"{c.name}: {c.said}" for c in conditions if c.met)
    parts = (("Not met", against), ("Waived", waived), ("Met", passed))
    return ". ".join(f"{how}: {said}" for how, said in parts if said)


class PromotionDecision(BaseModel):
    """Whether a candidate becomes the champion, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    champion: str | None
    conditions: tuple[Condition, ...]
    evidence: Evidence | None

    @property
    def promoted(self) -> bool:
        """Whether no condition stands in the way."""
        return not any(condition.stands_in_the_way for condition in self.conditions)

    @property
    def waived(self) -> tuple[str, ...]:
        """The conditions that a person's word was needed for."""
        return tuple(condition.name for condition in self.conditions if condition.waived and not condition.met)

    @property
    def reason(self) -> str:
        """The decision in words; a refusal lists every condition."""
        if not self.promoted:
            return f"{self.candidate} does not become the champion. {listed(self.conditions)}."
        return f"{self.candidate} becomes the champion: {'; '.join(c.said for c in self.conditions)}."


WAIVABLE = ("newer", "not_set_aside", "grade", "bias")
"""What a person may let pass by name, with a reason. That the bundle is whole and its verdict allows it is no
condition here: without that there is nothing to decide about."""


def decide_promotion(
    present: Channel | None,
    champion: PredictionSystem | None,
    candidate: PredictionSystem,
    compare: Callable[[], Evidence | str],
    limits: ReleaseLimits,
    waived: Sequence[str] = (),
    backtest: Callable[[], Backtest] | None = None,
) -> PromotionDecision:
    """Hold a candidate, which is whole and allowed by its verdict if it is ours, to the conditions.

    - `not_set_aside`: nobody rolled back from it, and no rollout of it was stopped.
    - `newer`: it was given later games than the champion. Backfilling an old month makes no champion; the running
      month's model of this week follows that of the week before.
    - `grade`: on enough unseen rows, the low end of the paired gain's 95% interval is at least -margin.
    - `bias`: its bias on those rows is within bounds, or no further from 0 than the champion's on them.
    - `no_rollout`: nobody else's rollout is under way; nothing waives that.
    - those of `registry.external`, for an external model; nothing waives them.

    `compare` gives the evidence, or says why there is none. It and `backtest`, which is None for a model of ours, take
    seconds, and are called only if nothing else stands in the way. The first champion has nobody to be compared with:
    its verdict is enough, or the backtest of a model that has none.
    """
    if present is None or champion is None:
        if backtest is not None:
            first, proof = Condition(name="first", met=True, said="there is no champion yet"), backtest()
            return PromotionDecision(
                candidate=candidate.version,
                champion=None,
                conditions=(first, *proof.conditions),
                evidence=proof.evidence,
            )
        first = Condition(name="verdict", met=True, said="it is the first, and its checks have passed")
        return PromotionDecision(candidate=candidate.version, champion=None, conditions=(first,), evidence=None)

    def considered(*conditions: Condition) -> tuple[Condition, ...]:
        return tuple(c.model_copy(update={"waived": c.name in waived and c.name in WAIVABLE}) for c in conditions)

    conditions = considered(_no_rollout(present), _not_set_aside(present, candidate), _newer(champion, candidate))
    evidence: Evidence | None = None
    if backtest is not None and not any(condition.stands_in_the_way for condition in conditions):
        conditions += backtest().conditions
    if not any(condition.stands_in_the_way for condition in conditions):
        compared = compare()
        evidence = compared if isinstance(compared, Evidence) else None
        conditions += considered(_grade(compared, limits), *([_bias(evidence, limits)] if evidence else []))
    return PromotionDecision(
        candidate=candidate.version, champion=champion.version, conditions=conditions, evidence=evidence
    )


def _no_rollout(present: Channel) -> Condition:
    name = present.challenger.model_id if present.challenger else "none"
    running = present.share > 0
    said = f"{name} is being rolled out at {present.share}%: advance or stop it first" if running else "no rollout runs"
    return Condition(name="no_rollout", met=not running, said=said)


def _newer(champion: PredictionSystem, candidate: PredictionSystem) -> Condition:
    return Condition(
        name="newer",
        met=candidate.seen.given > champion.seen.given,
        said=f"it was given games up to {candidate.seen.given}, the champion up to {champion.seen.given}",
    )


def _not_set_aside(present: Channel, candidate: PredictionSystem) -> Condition:
    met = candidate.version not in present.set_aside
    said = "it was never set aside" if met else "it was rolled back from before, or its rollout stopped"
    return Condition(name="not_set_aside", met=met, said=said)


def _grade(compared: Evidence | str, limits: ReleaseLimits) -> Condition:
    if isinstance(compared, str):
        return Condition(name="grade", met=False, said=compared)
    missing = _too_few(compared.rows, compared.days, limits.rows)
    if missing is not None:
        return Condition(name="grade", met=False, said=missing)
    return Condition(name="grade", met=compared.low >= -limits.margin, said=described(compared))


def _bias(evidence: Evidence, limits: ReleaseLimits) -> Condition:
    low, high = limits.bias
    beside = f"beside the champion's {evidence.champion_bias:+.2f}, allowed {low:+.1f} to {high:+.1f}"
    return Condition(name="bias", met=not evidence.biased(limits.bias), said=f"bias {evidence.bias:+.2f} {beside}")


def described(evidence: Evidence) -> str:
    """The comparison in words and numbers."""
    how = {
        "out_of_time": "after all that either was given",
        "held_out": "held out from both",
        "mixed": "after all that the champion was given and held out from the candidate",
    }[evidence.unseen]
    return (
        f"MAE {evidence.candidate_mae:.3f} against {evidence.champion_mae:.3f} on {evidence.rows:,} rows {how} "
        f"({evidence.first} to {evidence.last}), gain {evidence.gain:+.3f} ({evidence.low:+.3f} to "
        f"{evidence.high:+.3f}), at least {-evidence.margin:+.2f} demanded"
    )
