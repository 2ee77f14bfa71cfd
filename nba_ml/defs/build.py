"""The whole graph, made fresh from settings. A test makes its own, with other resources."""

import inspect
from collections.abc import Mapping
from typing import Any

import dagster as dg

from nba_ml.defs import release_checks, slate_checks
from nba_ml.defs.assets import build_assets
from nba_ml.defs.assets.slate_predictions import days_of
from nba_ml.defs.checks import build_checks
from nba_ml.defs.freshness import with_freshness
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.defs.jobs import build_grading_job, build_jobs, build_slate_job
from nba_ml.defs.partitions import partitions_of
from nba_ml.defs.resources import (
    ArtifactRoot,
    Compute,
    Store,
    feature_backfill_of,
    line_prices_of,
    month_rows_of,
    platform_predictions_of,
    prediction_table_of,
    slate_rows_of,
)
from nba_ml.defs.schedules import build_grading_schedule, build_schedules, build_slate_schedule
from nba_ml.defs.sensors.failures import build_notifier
from nba_ml.defs.sensors.feature_backfill import build_sensors
from nba_ml.settings import Settings
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.upcoming import has_schedule


def build_defs(settings: Settings, *, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The whole graph for the given settings. `resource_overrides` replaces resources by name.

    Raises:
        SourceDataError: the embedded source has no months.
    """
    months, grows = partitions_of(settings), settings.bigquery is not None
    computes = settings.bigquery is not None and settings.bigquery.computes_features
    scheduled = not grows and has_schedule(settings.data)
    days = days_of(months, scheduled=scheduled)
    source = EmbeddedFeatureSource(str(settings.data), settings.report_cut_off)
    resources: dict[str, object] = {
        "feature_source": source,
        "month_rows": month_rows_of(settings),
        "line_prices": line_prices_of(settings, source),
        "store": Store(root=settings.store),
        "artifact_root": ArtifactRoot(root=settings.artifact_root, signing=settings.signing),
        "compute": Compute(settings.threads, settings.rows_in_memory, str(settings.home / "scratch"), settings.dask),
        "slate_rows": slate_rows_of(settings),
        "prediction_table": prediction_table_of(settings),
        "io_manager": MonthStoreIOManager(settings.store),
        **({"platform_predictions": platform_predictions_of(settings)} if grows else {}),
        **({"feature_backfill": feature_backfill_of(settings.bigquery)} if settings.bigquery and computes else {}),
        **(resource_overrides or {}),
    }
    jobs = build_jobs(observable=grows, systems=settings.systems)
    slate_job, grading = build_slate_job(), build_grading_job()
    with silence_preview_warnings():
        assets = build_assets(
            months,
            settings.thresholds,
            settings.systems,
            external_feature_store=grows,
            computes_features=computes,
            scheduled=scheduled,
        )
        linked = [_with_code_reference(asset) for asset in (with_freshness(assets) if grows else assets)]
        checks = build_checks(months, settings.thresholds, settings.systems)
        standing = release_checks.build(months, settings.thresholds, settings.systems)
        of_slates = slate_checks.build(days, settings.thresholds)
    slates = [build_slate_schedule(days, slate_job, to_bigquery=grows), build_grading_schedule(grading)]
    return dg.Definitions(
        assets=linked,
        asset_checks=[*checks, standing, of_slates],
        jobs=[*jobs, slate_job, grading],
        schedules=[*build_schedules(months, jobs, settings.systems, observable=grows), *slates],
        sensors=[
            *(build_sensors(months, jobs, settings.retrain, settings.systems) if grows else []),
            build_notifier(settings.notify),
        ],
        resources=resources,
        # In process: importing Dagster costs seconds, and the multiprocess executor pays them at every step
        # (40 s against 10 s for one asset and three checks).
        executor=dg.in_process_executor,
    )


def _with_code_reference(asset: dg.AssetsDefinition | dg.SourceAsset) -> dg.AssetsDefinition | dg.SourceAsset:
    """The asset with a link to its lines. `dg.with_source_code_references` would name its decorator's file."""
    if not isinstance(asset, dg.AssetsDefinition):
        return asset
    compute: Any = asset.op.compute_fn
    function = inspect.unwrap(getattr(compute, "decorated_fn", compute))
    lines = dg.LocalFileCodeReference(
        file_path=inspect.getsourcefile(function) or "", line_number=inspect.getsourcelines(function)[1]
    )
    link = {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[lines])}
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(metadata=link))
