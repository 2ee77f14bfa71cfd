"""BigQuery statements from the files in `sql/`, with shared parts inserted."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"

_PARTS = (
    "feature_keys",
    "feature_vectors",
    "feature_identity",
    "first_version",
    "result_rows",
    "result_identity",
    "line_identity",
    "lookup",
    "priced_lines",
)


def query(name: str, **places: str) -> str:
    """Read a statement by its file name.

    Args:
        places: SQL for the other places in braces: the quoted table names for `{feature_table}` and `{summary_table}`,
            and the parts of `table_columns`.
    """
    parts = {part: _text(part).rstrip() for part in _PARTS}
    text = _text(name)
    for _ in range(2):  # a part may contain another
        text = _filled(text, parts)
    return _filled(text, places)


def _filled(text: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()
