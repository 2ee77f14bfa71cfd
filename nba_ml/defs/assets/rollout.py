"""`rollout`: the next step of the challenger that is being rolled out, if its grades allow it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.assets.recording import OWNERS
from nba_ml.defs.assets.release_facts import (
    ReleaseConfig,
    beaten_facts,
    conditions_table,
    evidence_facts,
    monthly_deps,
    recorded_channel,
)
from nba_ml.defs.channel_facts import channel_facts
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import ArtifactRoot, Compute, Store
from nba_ml.registry.channel import Channel, read_channel
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollout import rollout_advance

CODE_VERSION = "1"


def build(limits: Thresholds, systems: Sequence[System] = (XGBOOST_V1,)) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="release",
        deps=["champion", *monthly_deps(systems, "feature_store_snapshot")],
        kinds={"json"},
        owners=OWNERS,
        code_version=CODE_VERSION,
    )
    @fails_with_its_reason
    def rollout(
        config: ReleaseConfig,
        artifact_root: dg.ResourceParam[ArtifactRoot],
        store: dg.ResourceParam[Store],
        compute: dg.ResourceParam[Compute],
    ) -> dg.MaterializeResult[None]:
        """The challenger's share of the player-games, and whether it took its next step: 10, 50, 100, champion.

        Grades champion and challenger on every game since the last step. Enough of them, and the challenger is not
        worse by the set margin: it takes the next step. Worse beyond doubt: its share goes back to 0. Else
        everything stays, and the reason is here. A registered model has a share only while its backtest on stored
        rows is passed. `nba-ml rollout start` begins a rollout.
        """
        objects = artifact_root.objects()
        release = ReleaseContext(objects, store.months(), limits, compute.threads)
        outcome = _step(release, read_channel(objects), config.beat or None)
        channel = read_channel(objects)
        return recorded_channel(objects, channel, {**outcome, **(_rollout_facts(channel) if channel else {})})

    return rollout


def _step(release: ReleaseContext, present: Channel | None, beat: str | None) -> dict[str, Any]:
    """What came of it: `action` is advance, wait or stop, or none where no rollout is under way."""
    if present is None:
        return {"action": "none", "moved": False, "decision": "there is no champion yet, and so no rollout"}
    if not present.rolling_out:
        return {"action": "none", "moved": False, "decision": _no_rollout(present)}
    try:
        status, done = rollout_advance(release, datetime.now(UTC), beat=beat)
    except ReleaseError as error:  # the answer is no, and says why: a rule at its last step, or stopped meanwhile
        return {"action": "wait", "moved": False, "decision": str(error)}
    judged = {**(evidence_facts(status.evidence) if status.evidence else {}), **beaten_facts(status.beaten)}
    if status.backtest is not None:
        judged["backtest"] = conditions_table(status.backtest.conditions)
    return {"action": status.step.action, "moved": done.moved, "decision": status.step.reason, **judged}


def _no_rollout(present: Channel) -> str:
    if present.kind == "rollout_stop":
        return f"the rollout was stopped: {present.reason}"
    beside = f", {present.challenger.model_id} is in shadow" if present.challenger else ""
    return f"no rollout is under way{beside}"


def _rollout_facts(channel: Channel) -> dict[str, Any]:
    return {
        **channel_facts(channel),
        "challenger_is_the_mock": channel.challenger is not None and channel.challenger.is_mock,
        "graded_from": channel.graded_from.isoformat() if channel.graded_from else "none",
    }
