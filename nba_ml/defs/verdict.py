"""The verdict behind a model, gathered from all the runs in which its checks ran.

Dagster binds a check execution to the materialisation it ran on, and a materialisation to its data version, which
here is a digest. So a check counts as passed if its latest execution ran on the latest materialisation, that
materialisation has the digest that the model was made from, and it passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nba_ml.checks.registry import blocking_checks
from nba_ml.contract.systems import SYSTEMS
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.check_results import CheckLog, CheckResult
from nba_ml.model.record import ModelRecord
from nba_ml.registry.verdict import CheckVerdict, Override, Verdict


def gather_verdict(
    log: CheckLog,
    month: str,
    record: ModelRecord,
    limits: Thresholds,
    overrides: Sequence[Override] = (),
) -> Verdict:
    """The verdict of every blocking check on everything that the model of a month was made from.

    A check that did not run, ran on an older materialisation, on other bytes, or under another threshold, has not
    passed.

    Raises:
        OverrideError: an override that the verdict cannot take.
    """
    verdict = Verdict(
        model_sha256=record.model_sha256,
        checks=tuple(
            verdict
            for asset, digests in _lineage(month, record).items()
            for verdict in _verdicts(log, asset, digests, limits)
        ),
        thresholds=limits.changed(),
    )
    return verdict.with_overrides(overrides)


def _lineage(month: str, record: ModelRecord) -> Mapping[str, Mapping[str, str]]:
    """Asset -> month -> the digest that the model was made from."""
    asset = SYSTEMS[record.system_id].asset
    return {
        asset("feature_store_snapshot"): {ref.month: ref.digest for ref in record.split.snapshots},
        asset("train_split"): {month: record.split.digest},
        asset("xgboost_model"): {month: record.model_sha256},
        asset("model_metadata"): {month: record.digest},
    }


def _verdicts(log: CheckLog, asset: str, digests: Mapping[str, str], limits: Thresholds) -> Iterator[CheckVerdict]:
    checks, months = blocking_checks(asset, limits), sorted(digests)
    results = log.judged(checks, months)
    for check in checks:
        for month in months:
            same_bytes = log.version(asset, month) == digests[month]
            result = results.get((check.key, month)) if same_bytes else None
            failed = result is not None and not result.passed
            yield CheckVerdict(
                asset=asset,
                check=check.name,
                month=month,
                passed=result is not None and result.passed,
                subject=digests[month],
                found=_found(result),
                final=result is None or (failed and check.stops_run),
            )


NOT_RUN = "it has not run on the latest materialisation under the current thresholds"


def _found(result: CheckResult | None) -> str:
    """Why a check did not pass, with the first sentence of its advice; empty if it passed."""
    if result is None:
        return NOT_RUN
    if result.passed:
        return ""
    evaluation = result.evaluation
    stated = evaluation.metadata.get("next_step")
    advice = str(stated.value) if stated else ""
    text = (evaluation.description or "it failed").removeprefix("failed: ").removesuffix(advice)
    return f"{text.strip()} {advice.partition('. ')[0]}".strip().rstrip(".")
