"""Comparisons of two models on a stored month, made by `nba-ml rollout compare` and kept in the store.

A rollout begins in shadow. It may begin at 10% only if such a comparison with the present champion is kept and good
enough for a step. The grades of a shadow are the other way to 10%: `nba-ml rollout advance`.
"""

from __future__ import annotations

import pyarrow as pa

from nba_ml.contract.errors import ReleaseError
from nba_ml.registry.channel import ChannelModel, Evidence
from nba_ml.registry.promotion_rules import ComparisonRows, compare_systems
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollout_rules import judge_step
from nba_ml.registry.systems.interface import PredictionSystem

FOLDER = "comparisons"


def keep_comparison(
    context: ReleaseContext, champion: PredictionSystem, challenger: PredictionSystem, rows: pa.Table
) -> None:
    """Compare two models on rows that are new to both, and keep the evidence in the store.

    Raises:
        BundleError: a model's output is infinite.
    """
    margin = context.limits.rollout_margin
    found = compare_systems(champion, challenger, ComparisonRows(rows, "out_of_time"), margin)
    if found is not None:
        context.months.objects.write(_name(champion.version, challenger.version), found.model_dump_json().encode())


def require_comparison(context: ReleaseContext, champion: ChannelModel, challenger: ChannelModel) -> Evidence:
    """The kept comparison of a challenger with the champion, which must be good enough for a step.

    Raises:
        ReleaseError: none is kept, or it is not good enough.
    """
    kept = context.months.objects.read(_name(champion.model_id, challenger.model_id))
    ways = (
        f"`nba-ml rollout start {challenger.model_id}` without --share begins in shadow, and `nba-ml rollout advance` "
        "takes it to 10% by its grades"
    )
    if kept is None:
        raise ReleaseError(
            f"{challenger.model_id} may not begin at 10%: nothing shows how it compares with the champion. {ways}; or "
            f"run `nba-ml rollout compare {champion.model_id} {challenger.model_id} --month YYYY-MM` for a month that "
            "neither was given."
        )
    evidence = Evidence.model_validate_json(kept.data)
    step = judge_step(evidence, context.limits)
    if step.action != "advance":
        raise ReleaseError(
            f"{challenger.model_id} may not begin at 10%: compared with {champion.model_id} on {evidence.first} to "
            f"{evidence.last}, {step.reason}. {ways}."
        )
    return evidence


def _name(champion: str, challenger: str) -> str:
    return f"{FOLDER}/{challenger}_against_{champion}.json"
