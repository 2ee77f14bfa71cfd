"""`gcs_artifact`: the published bundle, and the gate in front of it."""

from typing import Any

import dagster as dg

from nba_ml.assets.recording import OWNERS, recorded
from nba_ml.checks.verdict import gather_verdict
from nba_ml.core.publication import Bundle, publish
from nba_ml.core.values import Artifact, DescribedModel
from nba_ml.resources.store import ArtifactRoot

CODE_VERSION = "1"


def build(months: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=months,
        group_name="training",
        kinds={"googlecloud"},
        owners=OWNERS,
        code_version=CODE_VERSION,
    )
    def gcs_artifact(
        context: dg.AssetExecutionContext,
        model_metadata: DescribedModel,
        artifact_root: ArtifactRoot,
    ) -> dg.Output[Any]:
        """The published bundle: booster, record, and last the manifest that makes them visible.

        Created only, read back and compared. Refused unless every blocking check has passed for
        exactly this model.
        """
        record, booster = model_metadata.record, model_metadata.booster
        facts: dict[str, Any]
        if record is None or booster is None:
            artifact = Artifact()
            facts = {"note": "no model up to this month, so nothing to publish"}
        else:
            verdict = gather_verdict(context.instance, context.partition_key, record)
            done = publish(artifact_root.objects(), Bundle(record.model_id, booster, record.to_bytes(), verdict))
            parts = {"booster": done.booster, "metadata": done.record, "manifest": done.manifest}
            artifact = Artifact(
                model_id=done.model_id,
                uris={name: part.uri for name, part in parts.items()},
                generations={name: part.generation for name, part in parts.items()},
                sha256={name: part.sha256 for name, part in parts.items()},
                verdict=verdict,
            )
            facts = {
                "model_id": done.model_id,
                "newly_published": done.created,
                "bytes": sum(part.size for part in parts.values()),
                "blocking_checks_passed": len(verdict.checks),
                **{f"{name}_uri": dg.MetadataValue.path(part.uri) for name, part in parts.items()},
                **{f"{name}_sha256": part.sha256 for name, part in parts.items()},
            }
        return recorded(
            artifact,
            code_version=CODE_VERSION,
            inputs={"model_metadata": {context.partition_key: model_metadata.digest}},
            metadata=facts,
        )

    return gcs_artifact
