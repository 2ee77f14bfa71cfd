"""The check of a published bundle: its objects are unchanged, and an independent reader can use it.

It runs after publication and blocks nothing. A failure means that the bundle must not be served.
"""

from __future__ import annotations

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.contract.errors import BundleError
from nba_ml.contract.thresholds import Thresholds
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.reader import reads_from, verify_bundle

ASSET = "gcs_artifact"


def _loads_from_its_uri(artifact: Artifact, context: CheckContext) -> Finding:
    metric = "reference rows predicted exactly from the published bundle"
    if artifact.model_id is None:
        return Finding(passed=True, metric=metric, value="nothing published yet", n=0)
    manifest = BundleNames.of(artifact.model_id).manifest
    try:
        # With the digest of the publication: another bundle, complete in itself, may lie under the same names.
        verified = verify_bundle(reads_from(context.artifacts()), manifest, manifest_sha256=artifact.sha256["manifest"])
    except BundleError as error:
        # A bundle that the reader rejects is a finding. Any other exception is an error of the check.
        return Finding(passed=False, metric=metric, value="rejected by the reader", n=0, next_step=str(error))
    return Finding(passed=True, metric=metric, value=verified.reference_rows, n=verified.reference_rows)


def checks(_limits: Thresholds) -> tuple[Check, ...]:
    """The check of this asset. It uses no limits."""
    return (
        Check(
            asset=ASSET,
            name="loads_from_its_uri",
            consequence=Consequence.FAILS_CI,
            threshold="manifest, digests, record and reference predictions hold, seen from a fresh process",
            reason="A bundle counts as published only if an independent reader loads it and gets the same predictions.",
            examine=_loads_from_its_uri,
        ),
    )
