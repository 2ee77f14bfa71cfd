"""An import in this process, and folders to import into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.importers.importing import Import
from nba_ml.sources.importers.mapping import shipped_mapping
from nba_ml.sources.importers.report import ImportReport

Importer = Callable[..., ImportReport]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an import goes."""
    return tmp_path / "data"


@pytest.fixture
def importer(tmp_path: Path, folder: Path) -> Importer:
    """Import contents, each a file, as a format. Every row that was read must be in one of the report's sums."""

    def run(format_name: str, *contents: str | bytes, **constants: str) -> ImportReport:
        files = []
        for i, content in enumerate(contents):
            files.append(tmp_path / f"file{i}")
            files[-1].write_bytes(content.encode() if isinstance(content, str) else content)
        report = Import(format_name, shipped_mapping(format_name), folder, constants).run(files)
        placed = report.new + report.changed + report.unchanged + report.repeated + report.paired
        assert report.read == placed + report.set_aside_rows + report.refused_rows
        return report

    return run


def copied(folder: Path, *months: str) -> None:
    """Shipped months in a folder."""
    (folder / "player_games").mkdir(parents=True, exist_ok=True)
    for month in months:
        shutil.copy(SAMPLE_DATA / f"player_games/{month}.parquet", folder / "player_games")


def month_of(folder: Path, month: str, kind: str = "player_games") -> pa.Table:
    """A month of a folder."""
    return pq.read_table(folder / kind / f"{month}.parquet").replace_schema_metadata(None)


def shipped_month(month: str) -> pa.Table:
    """A shipped month."""
    return month_of(SAMPLE_DATA, month)


def contents_of(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of all files."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.parquet")}
