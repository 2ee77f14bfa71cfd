"""The two places that are written to, as Dagster resources: between assets, and published.

Either is a directory or `gs://bucket/prefix`; both keep the same promises.
"""

import dagster as dg

from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore
from nba_ml.storage.opening import open_objects


class Store(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where values pass between assets."""

    root: str

    def months(self) -> MonthStore:
        """Values by asset and month."""
        return open_store(self.root)


class ArtifactRoot(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where bundles are published."""

    root: str

    def objects(self) -> ObjectStore:
        """The objects under the root."""
        return open_objects(self.root)


def open_store(root: str) -> MonthStore:
    """Values by asset and month under a root."""
    return MonthStore(open_objects(root))
