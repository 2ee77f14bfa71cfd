"""`gcs_artifact`: the published bundle, and the gate in front of it."""

from enum import StrEnum
from typing import Any

import dagster as dg
from pydantic import Field

from nba_ml.checks.registry import OVERRIDABLE
from nba_ml.contract.systems import System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.assets.recording import OWNERS, in_parts, recorded
from nba_ml.defs.check_results import CheckLog
from nba_ml.defs.partitions import reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.refusals import (
    MODEL_ID,
    refusal_metadata,
    refusal_of,
    refused_months,
    refused_table,
    report_superseded,
)
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.defs.verdict import gather_verdict
from nba_ml.evaluation.report.card import Card
from nba_ml.model.stored import MODEL
from nba_ml.model.values import DescribedModel
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.provenance import DOCUMENT, Provenance, code_provenance
from nba_ml.registry.publication import Bundle, Published, publish
from nba_ml.registry.verdict import Override, Verdict

CODE_VERSION = "1"


OverridableCheck = StrEnum("OverridableCheck", [(key, key) for key in OVERRIDABLE])  # type: ignore[misc]
"""An enumeration, so that the launchpad completes the name and Dagster refuses a wrong one before a run starts."""


OVERRIDE_EXAMPLE = OVERRIDABLE[2]
"""In the launchpad's help."""


class OverrideConfig(dg.Config):
    """A named check that failed, and why the model may be published all the same."""

    check: OverridableCheck = Field(description=f"The failed check, for example {OVERRIDE_EXAMPLE}.")
    reason: str = Field(description="Why it may be published all the same: written into the manifest.")


class PublicationConfig(dg.Config):
    """Normally empty. There is no switch that overrides whatever fails."""

    overrides: list[OverrideConfig] = Field(
        # A list and not a factory: Dagster writes only the former into the launchpad.
        default=[],
        description="Failed checks that a person accepts, for example: "
        f'overrides: [{{check: {OVERRIDE_EXAMPLE}, reason: "Injuries, reviewed with the analysts."}}]',
    )


def build(months: dg.PartitionsDefinition, system: System, limits: Thresholds) -> dg.AssetsDefinition:
    records = system.asset("model_metadata")

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("gcs_artifact")),
        partitions_def=months,
        group_name=system.group("training"),
        kinds={"googlecloud"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={"model_metadata": reads(records)},
    )
    @fails_with_its_reason
    def gcs_artifact(
        context: dg.AssetExecutionContext,
        config: PublicationConfig,
        model_metadata: DescribedModel,
        artifact_root: dg.ResourceParam[ArtifactRoot],
        store: dg.ResourceParam[Store],
    ) -> dg.Output[Any]:
        """The published bundle: booster, record, and last the manifest that makes them visible.

        Created only, read back and compared. A model is published if every blocking check has passed for exactly
        this model. Otherwise nothing is written, and the metadata says which checks it did not pass.
        """
        record, booster = model_metadata.record, model_metadata.booster
        facts: dict[str, Any]
        if record is None or booster is None:
            artifact = Artifact()
            facts = {"note": "no model up to this month, so nothing to publish"}
        else:
            overrides = [Override(check=str(each.check), reason=each.reason) for each in config.overrides]
            log = CheckLog(context.instance)
            verdict = gather_verdict(log, context.partition_key, record, limits, overrides)
            if verdict.failed:
                refusal = refusal_of(log, context.partition_key, record.model_id, verdict, limits)
                artifact, facts = Artifact(refused=refusal), refusal_metadata(refusal)
            else:
                trained = store.months().load(MODEL.of(system), context.partition_key)
                card = Card(record, trained.report.diagnosis if trained else None, verdict)
                provenance = Provenance(code=code_provenance(), data=record.split.snapshots)
                documents = {
                    "model_card.md": card.markdown().encode(),
                    "model_card.html": card.html().encode(),
                    DOCUMENT: provenance.to_bytes(),
                }
                bundle = Bundle(record.model_id, booster, record.to_bytes(), verdict, documents)
                done = publish(artifact_root.objects(), bundle)
                artifact, facts = _published(done, verdict)
                report_superseded(
                    context.run, context.instance, context.partition_key, limits, store, artifact_root, system
                )
            earlier = {
                m: why for m, why in refused_months(context.instance, system).items() if m < context.partition_key
            }
            facts |= refused_table(earlier)
        return recorded(
            artifact,
            code_version=CODE_VERSION,
            inputs={records: {context.partition_key: model_metadata.digest}},
            metadata=facts,
        )

    return gcs_artifact


def _published(done: Published, verdict: Verdict) -> tuple[Artifact, dict[str, Any]]:
    """What the store keeps of a publication, and what the UI shows of it."""
    parts = {"booster": done.booster, "metadata": done.record, "manifest": done.manifest}
    artifact = Artifact(
        model_id=done.model_id,
        uris={name: part.uri for name, part in parts.items()},
        generations={name: part.generation for name, part in parts.items()},
        sha256={name: part.sha256 for name, part in parts.items()},
        verdict=verdict,
    )
    # Without the model's id and a document's digest: Dagit does not wrap a name, and whole ones are cut off.
    written = [(name, part.size, part.sha256) for name, part in parts.items()]
    for each in done.documents:
        base, _, ending = each.name.removeprefix(f"{done.model_id}_").rpartition(".")
        written.append((f"{base.rpartition('_')[0]}.{ending}", each.size, each.sha256))
    files = [
        dg.TableRecord({"file": name, "bytes": size, "sha256": in_parts(sha256, 16)}) for name, size, sha256 in written
    ]
    return artifact, {
        MODEL_ID: done.model_id,
        "newly_published": done.created,
        "blocking_checks_passed": sum(check.passed for check in verdict.checks),
        "overridden": ", ".join(override.check for override in verdict.overrides) or "none",
        "bytes": sum(part.size for part in parts.values()),
        "folder": dg.MetadataValue.path(done.manifest.uri.rpartition("/")[0]),
        "files": dg.MetadataValue.table(files),
    }
