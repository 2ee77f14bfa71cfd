"""BigQuery statements from the files in `sql/`, with shared parts inserted."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"

_PARTS = ("feature_columns", "feature_identity", "result_identity")


def query(name: str, **tables: str) -> str:
    """Read a statement by its file name.

    Args:
        tables: quoted table names for `{feature_table}` and `{summary_table}`.
    """
    return _text(name).format(**{part: _text(part).rstrip() for part in _PARTS}, **tables)


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()
