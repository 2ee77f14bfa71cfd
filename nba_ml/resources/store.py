"""The two places that are written to, as Dagster resources: between assets, and published."""

from pathlib import Path

import dagster as dg

from nba_ml.core.object_store import ObjectStore
from nba_ml.resources.directory_store import DirectoryStore
from nba_ml.resources.month_store import MonthStore


class Store(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where values pass between assets."""

    root: str

    def months(self) -> MonthStore:
        """Values by asset and month."""
        return MonthStore(DirectoryStore(Path(self.root)))


class ArtifactRoot(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where bundles are published."""

    root: str

    def objects(self) -> ObjectStore:
        """The objects under the root."""
        return DirectoryStore(Path(self.root))
