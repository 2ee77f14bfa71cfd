"""The settings: the environment is read here, once, at the edge. Everything below receives values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nba_ml.core.errors import SettingsError

SAMPLE_DATA = Path(__file__).parent / "sample_data"
"""The real box scores and lines that the package ships."""

_MOST_THREADS = 1024
"""More than any machine this runs on has cores; at 100,000, a slip of the pen, no month came to its end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are. Paths are absolute.

    `home` holds everything local; `store` what passes between assets; `artifact_root` what is published;
    `data` the embedded source's files; `threads` bounds DuckDB and XGBoost (None: all cores) and changes no byte.
    """

    home: Path
    store: Path
    artifact_root: Path
    data: Path
    dagster_home: Path
    threads: int | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `NBA_ML_*` and `DAGSTER_HOME`.

        Raises:
            SettingsError: a value that cannot work, naming the setting.
        """
        home = _path(environ, "NBA_ML_HOME", Path(".nba_ml"))
        source = environ.get("NBA_ML_SOURCE") or "embedded"
        if source != "embedded":
            raise SettingsError(f"NBA_ML_SOURCE is '{source}'. This version reads the 'embedded' source only.")
        return cls(
            home=home,
            store=_path(environ, "NBA_ML_STORE", home / "store"),
            artifact_root=_path(environ, "NBA_ML_ARTIFACT_ROOT", home / "artifacts"),
            data=_path(environ, "NBA_ML_DATA", SAMPLE_DATA),
            dagster_home=_path(environ, "DAGSTER_HOME", home / "dagster"),
            threads=_threads(environ.get("NBA_ML_THREADS")),
        )


def _path(environ: Mapping[str, str], name: str, default: Path) -> Path:
    value = environ.get(name) or str(default)
    if "://" in value:
        raise SettingsError(f"{name} is '{value}'. This version takes a directory there, no URI.")
    return Path(value).expanduser().absolute()


def _threads(value: str | None) -> int | None:
    if not value:
        return None
    if not value.isdecimal() or not 1 <= int(value) <= _MOST_THREADS:
        raise SettingsError(
            f"NBA_ML_THREADS is '{value}'. Give the number of threads, 1 to {_MOST_THREADS:,}, or leave it unset for "
            "all cores."
        )
    return int(value)
