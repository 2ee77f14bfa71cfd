"""The code location. `build_defs` makes fresh definitions from values; nothing else happens here."""

from collections.abc import Mapping

import dagster as dg

from nba_ml.assets import build_assets
from nba_ml.automation import build_jobs
from nba_ml.checks.build import build_checks
from nba_ml.partitions import season_months
from nba_ml.previews import previews_in_use
from nba_ml.resources.compute import Compute
from nba_ml.resources.feature_source import EmbeddedFeatureSource, source_months
from nba_ml.resources.io_manager import MonthStoreIOManager
from nba_ml.resources.store import ArtifactRoot, Store
from nba_ml.settings import Settings


def build_defs(settings: Settings, *, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The whole graph for the given settings. `resource_overrides` replaces resources by name.

    Raises:
        SourceDataError: the source has no months.
    """
    available = source_months(settings.data)
    months = season_months(available[0], available[-1])
    store = Store(root=str(settings.store))
    resources: dict[str, object] = {
        "feature_source": EmbeddedFeatureSource(data=str(settings.data)),
        "store": store,
        "artifact_root": ArtifactRoot(root=str(settings.artifact_root)),
        "compute": Compute(threads=settings.threads),
        "io_manager": MonthStoreIOManager(store.months()),
        **(resource_overrides or {}),
    }
    with previews_in_use():
        checks = build_checks(months)
    return dg.Definitions(
        assets=build_assets(months),
        asset_checks=checks,
        jobs=build_jobs(),
        resources=resources,
        # In process: importing Dagster costs seconds, and the multiprocess executor pays them at every step
        # (40 s against 10 s for one asset and three checks).
        executor=dg.in_process_executor,
    )


defs = build_defs(Settings.from_environment())
