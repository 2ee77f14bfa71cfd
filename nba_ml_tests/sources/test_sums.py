"""A data folder's `SHA256SUMS`: shipped, written by an import, and verified whenever a file is read."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from nba_ml.contract.errors import SourceDataError
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources import sums
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.sums import SUMS, read_data, read_sums, write_data
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.trained_home import copy_months

MONTH = "player_games/2021-11.parquet"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    copy_months(tmp_path, "2021-10", "2021-11")
    (tmp_path / SUMS).write_bytes((SAMPLE_DATA / SUMS).read_bytes())
    return tmp_path


def flip(file: Path, bit: int) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[bit // 8] ^= 1 << (bit % 8)
    file.write_bytes(damaged)


def test_the_shipped_files_are_those_of_their_sums() -> None:
    files = {file.relative_to(SAMPLE_DATA).as_posix() for file in SAMPLE_DATA.glob("*/*.parquet")}
    assert read_sums(SAMPLE_DATA).keys() == files
    for name in files:
        assert read_data(SAMPLE_DATA / name)


def test_a_month_with_a_flipped_bit_is_reported_and_no_other_month(data: Path) -> None:
    """Guards against a bit that becomes another result: half of all flips are readable Parquet."""
    flip(data / MONTH, 300_001)
    source = EmbeddedFeatureSource(str(data))
    with pytest.raises(SourceDataError, match=r"2021-11\.parquet was changed or damaged: .* sha256sum \*/\*\.\* > SHA"):
        source.player_game_summary("2021-11")
    assert source.player_game_summary("2021-10").table.num_rows > 1000
    shipped = EmbeddedFeatureSource(str(SAMPLE_DATA)).fingerprint("2021-11")
    assert source.fingerprint("2021-11") != shipped  # so that the month is out of date, and made anew to be reported


def test_no_flipped_bit_is_read(data: Path) -> None:
    original = (data / MONTH).read_bytes()
    source = random.Random(1)
    for _ in range(200):
        flip(data / MONTH, source.randrange(len(original) * 8))
        with pytest.raises(SourceDataError, match="was changed or damaged"):
            read_data(data / MONTH)
        (data / MONTH).write_bytes(original)


def test_what_is_not_stated_is_read_as_it_is(data: Path) -> None:
    """Guards a user's own folder, and a month that is added to one by hand."""
    (data / SUMS).write_text("0" * 64 + "  player_games/2021-10.parquet\n")
    assert read_data(data / MONTH)
    with pytest.raises(SourceDataError, match="states 000000000000"):
        read_data(data / "player_games/2021-10.parquet")
    (data / SUMS).unlink()
    assert read_data(data / "player_games/2021-10.parquet")


@pytest.mark.parametrize(
    "text", ["x\n", "0" * 64, "\n", "0" * 64 + " a b"], ids=["word", "no name", "empty", "one space"]
)
def test_sums_of_another_form_are_reported_with_the_line(data: Path, text: str) -> None:
    (data / SUMS).write_text(f"{'0' * 64}  a\n{text}")
    with pytest.raises(SourceDataError, match="SHA256SUMS, line 2 is not 64 hex digits, two spaces and a name"):
        read_data(data / MONTH)


@pytest.mark.slow
def test_what_is_written_is_what_sha256sum_verifies(tmp_path: Path) -> None:
    """Guards the form, and a name with a space."""
    for name, content in (("a/x.csv", b"1"), ("a/y z.csv", b"2"), ("a/x.csv", b"3")):
        write_data(tmp_path, name, content)
    assert read_data(tmp_path / "a/x.csv") == b"3"
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "a/x.csv: OK\na/y z.csv: OK\n")


def test_a_file_that_is_replaced_while_it_is_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a month that is read while an import writes it: its old bytes met its new digest."""
    write_data(tmp_path, "a/x.csv", b"old")
    original = sums.read_sums

    def late(folder: Path) -> sums.Sums:
        monkeypatch.setattr(sums, "read_sums", original)
        write_data(tmp_path, "a/x.csv", b"new")
        return original(folder)

    monkeypatch.setattr(sums, "read_sums", late)
    assert read_data(tmp_path / "a/x.csv") == b"new"


@pytest.mark.parametrize("killed_at", range(4))
def test_a_writer_that_is_killed_leaves_a_folder_that_can_be_read(
    killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the months of an interrupted import: each file is the old one or the new one, and is accepted."""
    from nba_ml.storage.directory import DirectoryStore

    write_data(tmp_path, "a/x.csv", b"old")
    write, done = DirectoryStore.write, 0

    def stopped(self: DirectoryStore, name: str, data: bytes) -> None:
        nonlocal done
        if done == killed_at:
            raise KeyboardInterrupt
        done += 1
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStore, "write", stopped)
        if killed_at < 3:
            with pytest.raises(KeyboardInterrupt):
                write_data(tmp_path, "a/x.csv", b"new")
        else:
            write_data(tmp_path, "a/x.csv", b"new")
    assert read_data(tmp_path / "a/x.csv") == (b"old" if killed_at < 2 else b"new")
    write_data(tmp_path, "a/x.csv", b"newest")
    assert len(read_sums(tmp_path)["a/x.csv"]) == 1
