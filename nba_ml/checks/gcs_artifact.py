"""The checks of a published bundle: the month has one, its objects are unchanged, and an independent reader can use it.

They run after publication and block nothing.
"""

from __future__ import annotations

from functools import partial

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.checks.fresh_predictions import predict_once
from nba_ml.contract.errors import BundleError
from nba_ml.contract.model_id import month_of_model
from nba_ml.contract.thresholds import Thresholds
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.publication import list_published
from nba_ml.registry.reader import read_bundle, read_manifest, reads_from
from nba_ml.registry.refusal import RefusedCheck

ASSET = "gcs_artifact"

_check = partial(Check, ASSET)

PUBLISHED = "published"

_BEATS = "beats_"
"""How the names of the checks begin that compare a model with an average."""


def _loads_from_its_uri(artifact: Artifact, context: CheckContext) -> Finding:
    metric = "reference rows predicted exactly from the published bundle"
    if artifact.model_id is None:
        return Finding(passed=True, metric=metric, value="nothing published yet", n=0)
    manifest = BundleNames.of(artifact.model_id).manifest
    try:
        # With the digest of the publication: another bundle, complete in itself, may lie under the same names.
        read = reads_from(context.artifacts())
        verified = read_bundle(read, manifest, artifact.sha256["manifest"])
        verified.require_reproduced(predict_once(verified.booster, verified.rows, verified.features))
        read_manifest(read, manifest).read_documents(read)
    except BundleError as error:
        # A bundle that the reader rejects is a finding. Any other exception is an error of the check.
        return Finding(passed=False, metric=metric, value="rejected by the reader", n=0, next_step=str(error))
    return Finding(passed=True, metric=metric, value=len(verified.rows), n=len(verified.rows))


def _is_published(artifact: Artifact, context: CheckContext) -> Finding:
    metric = "publication"
    refusal = artifact.refused
    if refusal is None:
        value = artifact.model_id or "no model yet: too few rows to train on"
        return Finding(passed=True, metric=metric, value=value, n=0)
    ids = list_published(context.artifacts(), context.system)
    months = sorted(month for month in map(month_of_model, ids) if month is not None)
    not_beaten = next((check for check in refusal.checks if check.check.startswith(_BEATS)), None)
    if not_beaten is not None and (not months or context.month < months[0]):
        return Finding(passed=True, metric=metric, value=f"no model yet: {_average(not_beaten)}", n=0)
    later = next((month for month in months if month > context.month), "")
    return Finding(
        passed=False,
        metric=metric,
        value=f"refused by {refusal.names}",
        n=0,
        only_warns=bool(later),
        next_step=f"A later model, of {later}, is published. Nothing needs to be done."
        if later
        else "The champion continues to serve. Open the checks that are named: each says what it found and what to do. "
        f"Then materialise {context.month} again.",
    )


def _average(check: RefusedCheck) -> str:
    """What a check of an early model found, in words."""
    average = check.check.removeprefix(_BEATS).replace("_", " ")
    return f"the {average} is better" if check.value.startswith("-") else f"the {average} may be as good"


def checks(_limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset. They use no limits."""
    return (
        _check(
            name=PUBLISHED,
            consequence=Consequence.FAILS_CI,
            threshold="every blocking check has passed on exactly this model, so that it is published",
            reason="A refused model leaves the champion in place; while no later month is published, it gets older.",
            examine=_is_published,
        ),
        _check(
            name="loads_from_its_uri",
            consequence=Consequence.FAILS_CI,
            threshold="manifest, digests, record and reference predictions hold, seen from a fresh process",
            reason="A bundle counts as published only if an independent reader loads it and gets the same predictions.",
            examine=_loads_from_its_uri,
        ),
    )
