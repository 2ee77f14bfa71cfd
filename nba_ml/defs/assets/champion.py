"""`champion`: the latest published model proposed as the one that serves, and what came of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

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
from nba_ml.defs.internals import PARTITION_NAME_TAG
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import ArtifactRoot, Compute, Store
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.registry.channel import read_channel
from nba_ml.registry.promotion import Promotion, latest_published, promote, serving_system
from nba_ml.registry.publication import list_published
from nba_ml.registry.release_context import ReleaseContext

CODE_VERSION = "1"


def build(limits: Thresholds, systems: Sequence[System] = (XGBOOST_V1,)) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="release",
        deps=monthly_deps(systems, "gcs_artifact", "feature_store_snapshot"),
        kinds={"json"},
        owners=OWNERS,
        code_version=CODE_VERSION,
    )
    @fails_with_its_reason
    def champion(
        context: dg.AssetExecutionContext,
        config: ReleaseConfig,
        artifact_root: dg.ResourceParam[ArtifactRoot],
        store: dg.ResourceParam[Store],
        compute: dg.ResourceParam[Compute],
    ) -> dg.MaterializeResult[None]:
        """Which published model serves: the pointer that prediction workers follow.

        Proposes the latest published model of the system that serves. It becomes the champion if it was given later
        games, and on games that neither has learnt from is not worse than the champion by the set margin; if not, the
        champion stays and the reason is here. A model that somebody rolled back from does not come back by itself.
        A model of another system serves once a person has promoted it, or its rollout has ended.

        The job monthly_retraining ends with it, and proposes nothing if the month's model was refused; daily_release
        asks for it too.
        """
        objects = artifact_root.objects()
        release = ReleaseContext(objects, store.months(), limits, compute.threads)
        system = serving_system(read_channel(objects), systems[0])
        refused = _refused_here(context, store, system)
        candidates = list_published(objects, system) and not refused
        proposed = (
            promote(release, datetime.now(UTC), latest_published(release, system), beat=config.beat or None)
            if candidates
            else None
        )
        channel = proposed.channel if proposed else read_channel(objects)
        outcome = (
            _proposal(proposed) if proposed else {"note": refused or "nothing is published yet, so nothing serves"}
        )
        return recorded_channel(objects, channel, {**outcome, **(channel_facts(channel) if channel else {})})

    return champion


def _refused_here(context: dg.AssetExecutionContext, store: Store, system: System) -> str:
    """Why this run's month gives no candidate; empty if it does, or if the run has no month."""
    month = context.run.tags.get(PARTITION_NAME_TAG)
    artifact = store.months().load(ARTIFACT.of(system), month) if month else None
    if artifact is None or artifact.refused is None:
        return ""
    return f"Nothing is proposed: the model of {month} was refused. {artifact.refused}"


def _proposal(proposed: Promotion) -> dict[str, Any]:
    facts: dict[str, Any] = {"candidate": proposed.candidate, "promoted": proposed.moved, "decision": proposed.message}
    if proposed.decision is not None:
        facts["conditions"] = conditions_table(proposed.decision.conditions)
        if proposed.decision.evidence is not None:
            facts |= evidence_facts(proposed.decision.evidence)
        facts |= beaten_facts(proposed.decision.beaten)
    return facts
