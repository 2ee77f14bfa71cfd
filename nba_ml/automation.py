"""Jobs, and the sensor that follows the feature backfill."""

from collections.abc import Iterator, Sequence

import dagster as dg

# Dagster names it in its own signatures and exports it to type checkers only.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from nba_ml.assets import CHAIN, TRAINING_ASSETS, feature_store_snapshot
from nba_ml.assets.external import observation_of
from nba_ml.assets.recording import INPUTS
from nba_ml.core.follow import Decision, Followed, decide
from nba_ml.core.lineage import inputs_digest
from nba_ml.core.progress import MonthProgress
from nba_ml.partitions import month_keys
from nba_ml.resources.month_rows import FEATURES, SUMMARY, MonthRowsSource

SNAPSHOT = "feature_store_snapshot"

_AT_MOST = 6
"""Runs asked for at a time. The rest is asked for at the next look, a few minutes later."""

_LOOKS_EVERY = 300
"""Seconds between two looks: one query each, which reads keys only."""


def build_jobs(*, observable: bool) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of the UI's job pages. `observable`: the feature store is external."""
    jobs = [
        dg.define_asset_job(
            "monthly_chain",
            selection=dg.AssetSelection.assets(*(CHAIN[2:] if observable else CHAIN)),
            description="A month's rows to its published model, with every check.",
        ),
        dg.define_asset_job(
            "monthly_snapshot",
            selection=dg.AssetSelection.assets(SNAPSHOT),
            description="The snapshot of a month, with its checks.",
        ),
        dg.define_asset_job(
            "monthly_model",
            selection=dg.AssetSelection.assets(*TRAINING_ASSETS),
            description="The model of a month, from the snapshots that are there, with its checks, to publication.",
        ),
    ]
    if observable:
        jobs.append(
            dg.define_asset_job(
                "observe_feature_store",
                selection=dg.AssetSelection.assets(SUMMARY, FEATURES),
                description="Look at the platform's tables: a data version and the coverage of every month.",
            )
        )
    return jobs


def build_sensors(
    months: dg.MonthlyPartitionsDefinition, jobs: Sequence[UnresolvedAssetJobDefinition], retrain: str
) -> list[dg.SensorDefinition]:
    """The sensor of the feature backfill, off until somebody turns it on. `retrain`: 'latest' or 'all'."""

    @dg.sensor(
        jobs=[job for job in jobs if job.name in ("monthly_snapshot", "monthly_model")],
        minimum_interval_seconds=_LOOKS_EVERY,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Follows the feature backfill: a month that becomes substantial, or is complete and changed, gets "
        "a snapshot; when all are settled, the latest month gets a model. Off until you turn it on.",
    )
    def follow_backfill(
        context: dg.SensorEvaluationContext, month_rows: MonthRowsSource
    ) -> dg.SensorResult | dg.SkipReason:
        progress = month_rows.progress(month_keys(months))
        followed = Followed.model_validate_json(context.cursor) if context.cursor else Followed()
        wanted = {m.month: _inputs_now(m) for m in progress}
        decision = decide(
            progress,
            wanted,
            _taken(context.instance),
            followed,
            at_most=_AT_MOST,
            every_later_month=retrain == "all",
        )
        if decision.waiting:
            return dg.SkipReason(f"{decision.waiting[0].upper()}{decision.waiting[1:]}.")
        # With their versions, or the UI would call each new snapshot out of date.
        for m in progress:
            if m.month in decision.snapshots:
                for observation in filter(None, (observation_of(asset, m) for asset in (SUMMARY, FEATURES))):
                    context.instance.report_runless_asset_event(observation)
        return dg.SensorResult(
            run_requests=list(_requests(decision)),
            cursor=Followed(
                snapshots={**followed.snapshots, **decision.snapshots}, models={**followed.models, **decision.models}
            ).model_dump_json(),
        )

    return [follow_backfill]


def _requests(decision: Decision) -> Iterator[dg.RunRequest]:
    for job, what in (("monthly_snapshot", decision.snapshots), ("monthly_model", decision.models)):
        for month, key in what.items():
            yield dg.RunRequest(run_key=f"{job}-{month}-{key[:16]}", job_name=job, partition_key=month)


def _inputs_now(progress: MonthProgress) -> str:
    """The inputs digest that a snapshot of the month, taken now, would record."""
    month = progress.month
    versions = {SUMMARY: {month: progress.played.version}, FEATURES: {month: progress.features.version}}
    return inputs_digest(feature_store_snapshot.CODE_VERSION, versions, {})


def _taken(instance: dg.DagsterInstance) -> dict[str, str]:
    """Month -> inputs digest of its latest snapshot."""
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(SNAPSHOT)), limit=500, cursor=cursor
        )
        for record in page.records:  # newest first
            event = record.asset_materialization
            if event is not None and record.partition_key is not None:
                found.setdefault(record.partition_key, str(event.metadata[INPUTS].value))
        if not page.has_more:
            return found
        cursor = page.cursor
