"""What nba_ml uses of Dagster that is not, or not yet, a promise of Dagster's: its private modules and its previews.

The only module that imports `dagster._core`, so that an upgrade of Dagster is checked here. Each name says why there
is no public way.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

# To report a check's result outside a run: the public class of a result takes it, and there is no public name for it.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

# The version of each month, for many months at once: there is no public call; this is what the UI itself asks.
from dagster._core.definitions.data_version import DATA_VERSION_TAG

# A repository as the states of its schedules and sensors are filed: by the names of its location and its own.
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.selector import RepositorySelector

# Dagster names it in its own signatures and exports it to type checkers only.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Which checks failed on the latest materialisation, of many months at once: likewise.
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import DagsterEventType

# An instance with settings beside those of its dagster.yaml.
from dagster._core.instance.ref import InstanceRef

# Whether a schedule was switched by a person, and since when.
from dagster._core.scheduler.instigation import InstigatorStatus, ScheduleInstigatorData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

# To keep a connection to its files open.
from dagster._core.storage.event_log import SqliteEventLogStorage

# The month of a run, for an asset that has no months.
from dagster._core.storage.tags import PARTITION_NAME_TAG

# An id for a run that is known before the run begins.
from dagster._core.utils import make_new_run_id

# The code location as the web server's application is made over it.
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget

__all__ = [
    "DATA_VERSION_TAG",
    "LOCATION_NAME",
    "PARTITION_NAME_TAG",
    "REPOSITORY",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetCheckExecutionRecordStatus",
    "DagsterEventType",
    "InstanceRef",
    "InstigatorStatus",
    "ModuleTarget",
    "PartitionKeyFilter",
    "ScheduleInstigatorData",
    "SqliteEventLogStorage",
    "UnresolvedAssetJobDefinition",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "make_new_run_id",
    "silence_preview_warnings",
]

LOCATION_NAME = "nba_ml"
"""As in workspace.yaml."""

REPOSITORY = RepositorySelector(location_name=LOCATION_NAME, repository_name=SINGLETON_REPOSITORY_NAME)
"""What Dagster makes of the definitions, under the name by which it keeps the switches of schedules and sensors."""

_USED = {
    # One result per month and check: without it a check speaks of whichever month ran last.
    r".*partitions_def.*AssetCheckSpec.*": dg.PreviewWarning,
    # A digest as data version is what makes "the same rows, so nothing to do" visible to Dagster.
    r".*data_version.*Output.*": dg.BetaWarning,
    # Where an asset's code is: the UI links to it.
    r".*(LocalFileCodeReference|CodeReferencesMetadataValue).*": dg.BetaWarning,
    # Tables that are made elsewhere: observed, with a data version for each month.
    r".*observable_source_asset.*": dg.BetaWarning,
    # The first month's window reaches back before the first partition.
    r".*allow_nonexistent_upstream_partitions.*": dg.BetaWarning,
}


@contextmanager
def silence_preview_warnings() -> Iterator[None]:
    """Leave out the warnings about the named features; any other warning still shows."""
    with warnings.catch_warnings():
        for message, category in _USED.items():
            warnings.filterwarnings("ignore", message=message, category=category)
        yield
