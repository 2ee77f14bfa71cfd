"""The settings: the environment is read here, once, at the edge. Everything below receives values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nba_ml.checks.thresholds import Thresholds
from nba_ml.core.errors import MonthError, SettingsError
from nba_ml.core.season import parse_month

SAMPLE_DATA = Path(__file__).parent / "sample_data"
"""The real box scores and lines that the package ships."""

_MOST_THREADS = 1024
"""More than any machine this runs on has cores; at 100,000, a slip of the pen, no month came to its end."""


@dataclass(frozen=True, slots=True)
class BigQuerySettings:
    """Where BigQuery's tables are. `endpoint` and `storage_endpoint` are an emulator's; None is Google."""

    project: str
    feature_table: str
    summary_table: str
    location: str | None
    maximum_bytes_billed: int
    first_month: str
    endpoint: str | None
    storage_endpoint: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are.

    `home` holds everything local; `store` what passes between assets and `artifact_root` what is published, each
    an absolute path or `gs://bucket/prefix`; `data` the embedded source's files; `bigquery` the feature store
    where that is not embedded; `threads` bounds DuckDB and XGBoost (None: all cores) and changes no byte;
    `retrain` is which models the sensor trains anew: the `latest` month's, or those of `all` months after a change;
    `thresholds` are the limits of the checks.
    """

    home: Path
    store: str
    artifact_root: str
    data: Path
    dagster_home: Path
    threads: int | None
    bigquery: BigQuerySettings | None = None
    retrain: str = "latest"
    thresholds: Thresholds = field(default_factory=Thresholds)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `NBA_ML_*`, `DAGSTER_HOME`, and Google's own names for emulators.

        Raises:
            SettingsError: a value that cannot work, naming the setting.
        """
        home = _path(environ, "NBA_ML_HOME", Path(".nba_ml"))
        source = _choice(environ, "NBA_ML_SOURCE", ("embedded", "bigquery"))
        return cls(
            home=home,
            store=_root(environ, "NBA_ML_STORE", home / "store"),
            artifact_root=_root(environ, "NBA_ML_ARTIFACT_ROOT", home / "artifacts"),
            data=_path(environ, "NBA_ML_DATA", SAMPLE_DATA),
            dagster_home=_path(environ, "DAGSTER_HOME", home / "dagster"),
            threads=_number(environ, "NBA_ML_THREADS", 1, _MOST_THREADS, "the number of threads", "all cores"),
            bigquery=_bigquery(environ) if source == "bigquery" else None,
            retrain=_choice(environ, "NBA_ML_RETRAIN", ("latest", "all")),
            thresholds=_thresholds(environ),
        )


def _thresholds(environ: Mapping[str, str]) -> Thresholds:
    value = environ.get("NBA_ML_THRESHOLDS")
    return Thresholds.from_file(Path(value).expanduser()) if value else Thresholds()


def _bigquery(environ: Mapping[str, str]) -> BigQuerySettings:
    project = environ.get("NBA_ML_BIGQUERY_PROJECT")
    if not project:
        raise SettingsError(
            "NBA_ML_SOURCE is 'bigquery' and NBA_ML_BIGQUERY_PROJECT is not set. Give the id of the Google Cloud "
            "project that the feature store is in."
        )
    first_month = environ.get("NBA_ML_FIRST_MONTH") or "2021-10"
    try:
        parse_month(first_month)
    except MonthError as error:
        raise SettingsError(f"NBA_ML_FIRST_MONTH: {error}") from error
    host = environ.get("BIGQUERY_EMULATOR_HOST")
    most = 2**50
    return BigQuerySettings(
        project=project,
        feature_table=environ.get("NBA_ML_FEATURE_TABLE") or "nba_predictions.ml_feature_store_v2",
        summary_table=environ.get("NBA_ML_SUMMARY_TABLE") or "nba_analytics.player_game_summary",
        location=environ.get("NBA_ML_BIGQUERY_LOCATION") or None,
        maximum_bytes_billed=_number(environ, "NBA_ML_BIGQUERY_MAX_BYTES", 1, most, "a number of bytes", "1 GiB")
        or 2**30,
        first_month=first_month,
        endpoint=(host if "://" in host else f"http://{host}") if host else None,
        storage_endpoint=environ.get("BIGQUERY_STORAGE_EMULATOR_HOST") or None,
    )


def _path(environ: Mapping[str, str], name: str, default: Path) -> Path:
    value = environ.get(name) or str(default)
    if "://" in value:
        raise SettingsError(f"{name} is '{value}'. It must be a directory, no URI.")
    return Path(value).expanduser().absolute()


def _root(environ: Mapping[str, str], name: str, default: Path) -> str:
    value = environ.get(name) or str(default)
    if value.startswith("gs://"):
        return value.rstrip("/")
    if "://" in value:
        raise SettingsError(f"{name} is '{value}'. It must be a directory or gs://bucket/prefix.")
    return str(Path(value).expanduser().absolute())


def _choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed values, the first of which is the default."""
    value = environ.get(name) or allowed[0]
    if value not in allowed:
        raise SettingsError(f"{name} is '{value}'. It must be {' or '.join(repr(each) for each in allowed)}.")
    return value


def _number(environ: Mapping[str, str], name: str, low: int, high: int, what: str, default: str) -> int | None:
    value = environ.get(name)
    if not value:
        return None
    if not value.isdecimal() or not low <= int(value) <= high:
        raise SettingsError(f"{name} is '{value}'. Give {what}, {low:,} to {high:,}, or leave it unset for {default}.")
    return int(value)
