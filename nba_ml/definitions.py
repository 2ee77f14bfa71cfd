"""The code location. `build_defs` makes fresh definitions from values; nothing else happens here."""

from collections.abc import Mapping

import dagster as dg

from nba_ml.assets import build_assets
from nba_ml.automation import build_jobs, build_sensors
from nba_ml.checks.build import build_checks
from nba_ml.partitions import season_months
from nba_ml.previews import previews_in_use
from nba_ml.resources.compute import Compute
from nba_ml.resources.feature_source import EmbeddedFeatureSource, source_months
from nba_ml.resources.io_manager import MonthStoreIOManager
from nba_ml.resources.month_rows import MonthRowsSource, StoredMonthRows
from nba_ml.resources.store import ArtifactRoot, Store
from nba_ml.settings import Settings


def build_defs(settings: Settings, *, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The whole graph for the given settings. `resource_overrides` replaces resources by name.

    Raises:
        SourceDataError: the embedded source has no months.
    """
    months = partitions_of(settings)
    resources: dict[str, object] = {
        "feature_source": EmbeddedFeatureSource(data=str(settings.data)),
        "month_rows": month_rows_of(settings),
        "store": Store(root=settings.store),
        "artifact_root": ArtifactRoot(root=settings.artifact_root),
        "compute": Compute(threads=settings.threads),
        "io_manager": MonthStoreIOManager(settings.store),
        **(resource_overrides or {}),
    }
    jobs = build_jobs(observable=settings.bigquery is not None)
    with previews_in_use():
        assets = build_assets(months, settings.thresholds, external_feature_store=settings.bigquery is not None)
        checks = build_checks(months, settings.thresholds)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs,
        sensors=build_sensors(months, jobs, settings.retrain) if settings.bigquery else [],
        resources=resources,
        # In process: importing Dagster costs seconds, and the multiprocess executor pays them at every step
        # (40 s against 10 s for one asset and three checks).
        executor=dg.in_process_executor,
    )


def partitions_of(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """The months that the configured source can have.

    Raises:
        SourceDataError: the embedded source has none.
    """
    if settings.bigquery is not None:
        return season_months(settings.bigquery.first_month, None)
    available = source_months(settings.data)
    return season_months(available[0], available[-1])


def month_rows_of(settings: Settings) -> MonthRowsSource:
    """Where snapshots are taken from."""
    if settings.bigquery is None:
        return StoredMonthRows(root=settings.store)
    from nba_ml.resources.bigquery_source import (  # noqa: PLC0415 (imports Google's libraries)
        BigQueryConnection,
        BigQueryFeatureSource,
    )

    there = settings.bigquery
    return BigQueryFeatureSource(
        connection=BigQueryConnection(
            project=there.project,
            location=there.location,
            endpoint=there.endpoint,
            storage_endpoint=there.storage_endpoint,
            maximum_bytes_billed=there.maximum_bytes_billed,
        ),
        feature_table=there.feature_table,
        summary_table=there.summary_table,
    )


defs = build_defs(Settings.from_environment())
