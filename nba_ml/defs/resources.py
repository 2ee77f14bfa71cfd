"""What the graph needs from outside, and how the settings become it. The only place where the two meet.

Resources are plain objects: the command line uses them without Dagster. Nothing is opened or asked when one is made,
so that loading the graph needs no credentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nba_ml.contract.limits import PAGED_ROWS
from nba_ml.contract.signing import Signing
from nba_ml.contract.systems import System
from nba_ml.model.train import Engine
from nba_ml.registry.signed_store import open_published
from nba_ml.settings import BigQuerySettings, Settings
from nba_ml.slates.operations import NoPredictionTable, PredictionTable
from nba_ml.slates.platform import NoPlatformPredictions, PlatformPredictions
from nba_ml.slates.rows import SlateRows
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.month_prices import EmbeddedMonthPrices, MonthPrices, NoMonthPrices
from nba_ml.sources.month_rows import MonthRowsSource, StoredMonthRows
from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore
from nba_ml.storage.opening import open_objects

if TYPE_CHECKING:
    from nba_ml.sources.bigquery_connection import BigQueryConnection
    from nba_ml.sources.feature_backfill import BigQueryFeatureBackfill


@dataclass(frozen=True, slots=True)
class Store:
    """Where values pass between assets: a directory or `gs://bucket/prefix`."""

    root: str

    def months(self) -> MonthStore:
        """Values by asset and month."""
        return open_store(self.root)


@dataclass(frozen=True, slots=True)
class ArtifactRoot:
    """Where bundles are published: a directory or `gs://bucket/prefix`, and the signatures that are required there."""

    root: str
    signing: Signing | None = None

    def objects(self) -> ObjectStore:
        """The objects under the root."""
        return open_published(self.root, self.signing)


@dataclass(frozen=True, slots=True)
class Compute:
    """Threads for DuckDB and XGBoost, None for all cores; a training by pages on more than `rows_in_memory` rows has
    them in files under `scratch`, None for the system's folder of temporary files. Changes the speed, never the bytes.

    `dask` is the scheduler of a cluster that trains instead of this process; None is this process.
    """

    threads: int | None = None
    rows_in_memory: int = PAGED_ROWS
    scratch: str | None = None
    dask: str | None = None

    def engine(self, store: str, system: System) -> Engine | None:
        """What trains instead of this process, from the snapshots in a store; None for nothing."""
        if self.dask is None:
            return None
        from nba_ml.model.dask_training import DaskEngine  # noqa: PLC0415 (imports XGBoost's training)

        return DaskEngine(self.dask, store, system)


def open_store(root: str) -> MonthStore:
    """Values by asset and month under a root."""
    return MonthStore(open_objects(root))


def month_rows_of(settings: Settings) -> MonthRowsSource:
    """Where snapshots are taken from."""
    if settings.bigquery is None:
        return StoredMonthRows(root=settings.store)
    from nba_ml.sources.bigquery import BigQueryFeatureSource  # noqa: PLC0415 (imports Google's libraries)

    return BigQueryFeatureSource(
        connection=connection_of(settings.bigquery),
        feature_table=settings.bigquery.feature_table,
        summary_table=settings.bigquery.summary_table,
        versions=settings.bigquery.feature_versions,
    )


def line_prices_of(settings: Settings, source: EmbeddedFeatureSource) -> MonthPrices:
    """Where the prices of the months' lines are read from: `source` unless that is BigQuery."""
    if settings.bigquery is None:
        return EmbeddedMonthPrices(source, settings.store)
    if settings.bigquery.lines_table is None:
        return NoMonthPrices()
    from nba_ml.sources.bigquery_prices import BigQueryMonthPrices  # noqa: PLC0415 (imports Google's libraries)

    return BigQueryMonthPrices(
        connection_of(settings.bigquery),
        settings.bigquery.lines_table,
        settings.bigquery.feature_table,
        settings.bigquery.first_month,
    )


def feature_backfill_of(bigquery: BigQuerySettings) -> BigQueryFeatureBackfill:
    """What computes features in BigQuery."""
    from nba_ml.sources.feature_backfill import BigQueryFeatureBackfill  # noqa: PLC0415 (imports sqlglot)

    return BigQueryFeatureBackfill(
        connection_of(bigquery),
        bigquery.feature_table,
        bigquery.summary_table,
        bigquery.lines_table,
        platform_versions=bigquery.feature_versions,
    )


def slate_rows_of(settings: Settings) -> SlateRows:
    """Where a date's rows are read from."""
    if settings.bigquery is None:
        from nba_ml.slates.upcoming import EmbeddedSlateRows  # noqa: PLC0415 (imports DuckDB)

        return EmbeddedSlateRows(settings.store, settings.data, settings.threads, settings.report_cut_off)
    from nba_ml.slates.rows_from_bigquery import BigQuerySlateRows  # noqa: PLC0415 (imports Google's libraries)

    bigquery = settings.bigquery
    return BigQuerySlateRows(
        connection_of(bigquery), bigquery.feature_table, bigquery.feature_versions, bigquery.lines_table
    )


def prediction_table_of(settings: Settings) -> PredictionTable:
    """Where served predictions are written to, besides the store."""
    if settings.bigquery is None:
        return NoPredictionTable()
    from nba_ml.slates.prediction_table import BigQueryPredictionTable  # noqa: PLC0415 (as above)

    bigquery = settings.bigquery
    return BigQueryPredictionTable(connection_of(bigquery), bigquery.prediction_table, bigquery.system_ids)


def platform_predictions_of(settings: Settings) -> PlatformPredictions:
    """What the platform's own systems predicted."""
    if settings.bigquery is None:
        return NoPlatformPredictions()
    from nba_ml.sources.platform_predictions import BigQueryPlatformPredictions  # noqa: PLC0415 (as above)

    bigquery = settings.bigquery
    return BigQueryPlatformPredictions(connection_of(bigquery), bigquery.prediction_table, bigquery.platform_systems)


def connection_of(bigquery: BigQuerySettings) -> BigQueryConnection:
    """The connection to BigQuery that the settings describe. Nothing is asked of it yet."""
    from dagster_gcp import BigQueryResource  # noqa: PLC0415 (as above)

    from nba_ml.sources.bigquery_connection import BigQueryConnection  # noqa: PLC0415

    return BigQueryConnection(
        open_client=BigQueryResource(project=bigquery.project, location=bigquery.location).get_client,
        project=bigquery.project,
        location=bigquery.location,
        endpoint=bigquery.endpoint,
        storage_endpoint=bigquery.storage_endpoint,
        maximum_bytes_billed=bigquery.maximum_bytes_billed,
    )
