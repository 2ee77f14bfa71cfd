"""Read what the platform's systems predicted, grade it beside ours, and keep it for promotions and rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.tables import PLATFORM_PREDICTIONS, PREDICTION_GRADES, REPLAYED, RESULTS, SLATE_GRADES
from nba_ml.evaluation.stored import GRADES
from nba_ml.registry.production import SCHEMA, keep_production
from nba_ml.slates.grades import grade_slates
from nba_ml.slates.platform_grades import PlatformGrades, grade_platform
from nba_ml.slates.slate import SERVED
from nba_ml.slates.store import SlateStore
from nba_ml.storage.months import MonthStore


class PlatformPredictions(Protocol):
    """The platform's table of predictions, and the ids of the systems that the settings name."""

    @property
    def systems(self) -> tuple[str, ...]: ...

    def read(self, month: str, systems: Sequence[str]) -> pa.Table:
        """The active rows of a month, in `tables.PLATFORM_PREDICTIONS`. Raises SourceDataError or SettingsError."""
        ...


_NO_TABLE = (
    "NBA_ML_SOURCE is 'embedded', so there is no table of the platform's predictions. Set it to 'bigquery', and set "
    "NBA_ML_BIGQUERY_PROJECT and NBA_ML_PREDICTION_TABLE."
)


class NoPlatformPredictions:
    """Placeholder for homes with the embedded source, which have no such table."""

    @property
    def systems(self) -> tuple[str, ...]:
        """Raises SettingsError."""
        raise SettingsError(_NO_TABLE)

    def read(self, month: str, systems: Sequence[str]) -> pa.Table:  # noqa: ARG002 (as the protocol has it)
        """Raises SettingsError."""
        raise SettingsError(_NO_TABLE)


def grade_platform_months(
    months: MonthStore, slates: SlateStore, platform: PlatformPredictions, wanted: Sequence[str], systems: Sequence[str]
) -> PlatformGrades:
    """Grade systems over some months beside ours, and keep what they predicted in each.

    Ours are the rows of `prediction_grades`, and of `slate_grades` those that were served and not replayed.

    Args:
        wanted: the months, in order; each needs a snapshot.
        systems: their ids in the table.

    Raises:
        SettingsError: no system is named, there is no table, or there are no credentials.
        SlateError: a month has no snapshot, or a slate is damaged.
        SourceDataError: the table cannot be read.
    """
    if not systems:
        raise SettingsError(
            "No system to grade is named. Set NBA_ML_PLATFORM_SYSTEMS to their system_ids in the table of predictions, "
            "with commas between them: moving_average,catboost_v8."
        )
    found, results = [PLATFORM_PREDICTIONS.empty_table()], [RESULTS.empty_table()]
    graded, served = [PREDICTION_GRADES.empty_table()], [SLATE_GRADES.empty_table()]
    for month in wanted:
        snapshot = months.load(SNAPSHOT, month)
        if snapshot is None:
            raise SlateError(
                f"{month} has no snapshot with results yet. Run `nba-ml backfill --from {month} --to {month} --assets "
                "feature_store_snapshot`."
            )
        found.append(platform.read(month, systems))
        results.append(snapshot.results)
        if (ours := months.load(GRADES, month)) is not None:
            graded.append(ours.table)
        counting = [version.slate for day in slates.days(month) if (version := slates.current(day)) is not None]
        served.append(grade_slates(counting, snapshot, month).table)
    tables = {"prediction_grades": pa.concat_tables(graded), "slate_grades": _served(pa.concat_tables(served))}
    grades = grade_platform(wanted, systems, pa.concat_tables(found), pa.concat_tables(results), tables)
    for month in wanted:
        for system in systems:
            _keep(months, grades, month, system)
    return grades


def _served(table: pa.Table) -> pa.Table:
    role, made = table.column("role"), table.column("made")
    return table.filter(pc.and_(pc.equal(role, SERVED), pc.not_equal(made, REPLAYED)))


def _keep(months: MonthStore, grades: PlatformGrades, month: str, system: str) -> None:
    rows = grades.rows
    of_them = rows[(rows["system_id"] == system) & (rows["game_date"].dt.strftime("%Y-%m") == month)]
    keep_production(
        months.objects, month, system, pa.Table.from_pandas(of_them[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    )
