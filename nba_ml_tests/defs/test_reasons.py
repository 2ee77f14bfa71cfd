"""What a failed step says first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from nba_ml.contract.errors import MonthError, SourceDataError
from nba_ml.defs.build import build_defs
from nba_ml.defs.event_log import step_failure
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.defs.partitions import one_month
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.settings import Settings

REASON = "2021-12.parquet: 30 of 4,398 rows are invalid. Correct the rows."


def failed_step(function: Callable[[], Any]) -> dg.DagsterEvent:
    made = dg.asset(name="player_game_summary")(fails_with_its_reason(function))
    [failure] = dg.materialize([made], raise_on_error=False).filter_events(lambda event: event.is_step_failure)
    return failure


def test_an_error_of_ours_is_shown_by_its_reason() -> None:
    """Guards against a broken file whose page begins with "Error occurred while executing op" and a stack trace."""

    def broken() -> None:
        raise SourceDataError(REASON)

    event = failed_step(broken)
    data = event.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.description == REASON
    assert data.error is not None
    assert data.error.message.strip().endswith(f"Failure: {REASON}")
    told = step_failure(event)
    assert (told.kind, told.message) == ("SourceDataError", REASON), "what notices and the terminal go by"


def test_a_bug_keeps_its_trace() -> None:
    """Guards against a bug that looks like a fault of the data."""

    def bug() -> None:
        raise KeyError("game_id")

    data = failed_step(bug).step_failure_data
    assert data.user_failure_data is None
    assert data.error is not None
    assert data.error.cause is not None
    assert data.error.cause.cls_name == "KeyError"


MONTHS = dg.MonthlyPartitionsDefinition(start_date="2021-10", end_date="2022-02", fmt="%Y-%m")


def reason_of(assets: Sequence[dg.AssetsDefinition], **launched: Any) -> str:
    """What the one step that fails says first."""
    result = dg.materialize(assets, raise_on_error=False, **launched)
    [failure] = result.filter_events(lambda event: event.is_step_failure)
    said = failure.step_failure_data.user_failure_data
    assert said is not None, failure.step_key
    return str(said.description)


def reason_without_input(root: Path, **launched: Any) -> str:
    """What an asset says whose input was never materialised."""

    @dg.asset(partitions_def=MONTHS)
    def feature_store_snapshot() -> None: ...

    @dg.asset(partitions_def=MONTHS)
    def train_split(feature_store_snapshot: Any) -> None: ...

    resources = {"io_manager": MonthStoreIOManager(str(root))}
    assets = [feature_store_snapshot, train_split]
    return reason_of(assets, selection=["train_split"], resources=resources, **launched)


def test_a_month_that_is_missing_is_shown_by_its_reason(tmp_path: Path) -> None:
    """Guards the first thing that a person sees who materialises a month too early."""
    said = reason_without_input(tmp_path, partition_key="2021-11")
    assert said.startswith("feature_store_snapshot was never materialised for 2021-11.")


def test_a_run_without_one_month_says_how_to_launch_it(tmp_path: Path) -> None:
    """Guards a person who launches a job without a partition, or for a range: Dagster's words are about its context."""
    with pytest.raises(MonthError, match=r"has no month, or several at once. Choose the partition"):
        one_month(dg.build_asset_context(), MONTHS)
    assert one_month(dg.build_asset_context(partition_key="2021-11"), MONTHS) == "2021-11"
    span = {"dagster/asset_partition_range_start": "2021-10", "dagster/asset_partition_range_end": "2021-12"}
    said = reason_without_input(tmp_path, tags=span)
    assert said.startswith("The run has no month, or several at once. Choose the partition")


@pytest.mark.parametrize(
    ("month", "assets", "words"),
    [
        ("2022-07", ("train_split",), "2022-07 is in the off-season: it had no games and has no partition."),
        ("2025-10", (), "2025-10 is after the last month of the source, which has 2021-10 to 2025-06."),
    ],
)
def test_a_month_that_is_no_partition_is_refused(
    tmp_path: Path, month: str, assets: tuple[str, ...], words: str
) -> None:
    """Guards a launch by GraphQL, whose month Dagster does not check: July's rows were stored as those of October.

    Of an asset with inputs Dagster itself refuses a month after the last.
    """
    settings = Settings.from_environment({"NBA_ML_HOME": str(tmp_path), "NBA_ML_SYSTEMS": "xgboost_v1"})
    defs = build_defs(settings)
    every = [each for each in defs.assets or () if isinstance(each, dg.AssetsDefinition)]
    launched: dict[str, Any] = {"tags": {"dagster/partition": month}, "resources": dict(defs.resources or {})}
    for asset in ("player_game_summary", "feature_store_snapshot", "slate_grades", *assets):
        assert reason_of(every, selection=[asset], **launched).startswith(words), asset
    assert not (tmp_path / "store").exists()
