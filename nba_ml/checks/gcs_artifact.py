"""Checks of a published bundle: its objects are unchanged, and an independent reader can use it.

They run after publication and block nothing. A failure means that the bundle must not be served.
"""

from __future__ import annotations

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError
from nba_ml.contract.thresholds import Thresholds
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.reader import reads_from, verify_bundle

ASSET = "gcs_artifact"


def _reads_back(artifact: Artifact, context: CheckContext) -> Finding:
    metric = "published objects that are missing or changed"
    if artifact.model_id is None:
        return Finding(passed=True, metric=metric, value="nothing published yet", n=0)
    objects, names = context.artifacts(), BundleNames.of(artifact.model_id)
    differing = []
    for part, name in (("booster", names.booster), ("metadata", names.record), ("manifest", names.manifest)):
        stored = objects.read(name)
        found = bytes_digest(stored.data) if stored else "no object"
        if found != artifact.sha256.get(part):
            differing.append(
                {"object": objects.uri(name), "sha256 published": artifact.sha256.get(part), "sha256 found": found}
            )
    return Finding(
        passed=not differing,
        metric=metric,
        value=len(differing),
        n=len(artifact.uris),
        worst=differing,
        next_step=f"Do not serve {artifact.model_id}. Restore the objects from a backup, or move the bundle and "
        f"materialise gcs_artifact for {context.month} again.",
    )


def _loads_from_its_uri(artifact: Artifact, context: CheckContext) -> Finding:
    metric = "reference rows predicted exactly from the published bundle"
    if artifact.model_id is None:
        return Finding(passed=True, metric=metric, value="nothing published yet", n=0)
    try:
        verified = verify_bundle(reads_from(context.artifacts()), BundleNames.of(artifact.model_id).manifest)
    except BundleError as error:
        # A bundle that the reader rejects is a finding. Any other exception is an error of the check.
        return Finding(passed=False, metric=metric, value="rejected by the reader", n=0, next_step=str(error))
    return Finding(passed=True, metric=metric, value=verified.reference_rows, n=verified.reference_rows)


def checks(_limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset. They use no limits."""
    return (
        Check(
            asset=ASSET,
            name="reads_back",
            consequence=Consequence.FAILS_CI,
            threshold="every object is there with the digest it was published with",
            reason="Otherwise the prediction worker would be the first to find a lost or changed object.",
            examine=_reads_back,
        ),
        Check(
            asset=ASSET,
            name="loads_from_its_uri",
            consequence=Consequence.FAILS_CI,
            threshold="manifest, digests, record and reference predictions hold, seen from a fresh process",
            reason="A bundle counts as published only if an independent reader loads it and gets the same predictions.",
            examine=_loads_from_its_uri,
        ),
    )
