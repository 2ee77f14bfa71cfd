"""What is not an ordinary file of a size that is allowed is refused before it is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nba_ml.contract import limits
from nba_ml.contract.reading import RefusedFileError, read_file, read_text

SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.mark.parametrize("make", SPECIAL.values(), ids=SPECIAL.keys())
def test_what_may_never_end_is_refused(
    make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a read that waits for a writer, or takes all memory."""
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("x"))
    with pytest.raises(RefusedFileError, match="only ordinary files are read"):
        read_file(Path("x"), 10)


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"0123456789")
    assert read_file(file, 10) == b"0123456789"
    with pytest.raises(RefusedFileError, match="it has 10 bytes, and at most 9 are read"):
        read_file(file, 9)
    os.truncate(file, 2**40)  # a hole: no machine has this memory
    with pytest.raises(RefusedFileError, match="1,099,511,627,776 bytes"):
        read_file(file, limits.DATA_BYTES)


def test_a_link_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """Guards what lies beside the folder, and the user whose folder itself is a link, or has links inside."""
    folder, beside = tmp_path / "folder", tmp_path / "folder_beside"
    folder.mkdir()
    beside.write_bytes(b"secret")
    (folder / "real").write_bytes(b"x")
    (folder / "out").symlink_to(beside)
    (folder / "in").symlink_to("real")
    (tmp_path / "link").symlink_to(folder)
    assert read_file(folder / "in", 10, within=folder) == b"x"
    assert read_file(tmp_path / "link" / "real", 10, within=tmp_path / "link") == b"x"
    assert read_file(folder / "out", 10) == b"secret"  # a file that the user names
    with pytest.raises(RefusedFileError, match=f"it is a link to {beside}, which is outside of"):
        read_file(folder / "out", 10, within=folder)


def test_a_table_or_its_file_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """Guards the same where the file is two levels deep, as all files of a data folder are."""
    folder, beside = tmp_path / "folder", tmp_path / "beside"
    (folder / "table").mkdir(parents=True)
    (beside / "table").mkdir(parents=True)
    (beside / "table" / "file").write_bytes(b"secret")
    (folder / "table" / "file").write_bytes(b"x")
    (folder / "table" / "link").symlink_to(beside / "table" / "file")
    (folder / "linked").symlink_to(beside / "table")
    (folder / "inner").symlink_to("table")
    for name in ("table/file", "inner/file"):
        assert read_file(folder / name, 10, within=folder) == b"x"
    for name in ("table/link", "linked/file", "../beside/table/file"):
        with pytest.raises(RefusedFileError, match="outside of"):
            read_file(folder / name, 10, within=folder)
    (tmp_path / "file").write_bytes(b"secret")
    with pytest.raises(RefusedFileError, match="outside of"):
        read_file(folder / ".." / "file", 10, within=folder)


def test_text_that_is_not_utf_8_is_reported_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"\xef\xbb\xbfab")
    assert read_text(file, 10) == "ab"
    file.write_bytes(b"name\xff")
    with pytest.raises(RefusedFileError, match=r"it is not UTF-8: byte 4 is 0xff; save it as UTF-8"):
        read_text(file, 10)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("channels/champion.json", limits.STATE_BYTES),
        ("channels/history/000001.json", limits.STATE_BYTES),
        ("xgboost_v1/channels/champion.json", limits.STATE_BYTES),
        ("xgboost_v1/channels/history/000001.json", limits.STATE_BYTES),
        ("a/prefix/xgboost_v1/channels/champion.json", limits.STATE_BYTES),
        (f"xgboost_v1/channels/signatures/{'ab' * 32}.json", limits.SIGNATURE_BYTES),
        ("xgboost_v1/a_signature_0123456789ab.json", limits.SIGNATURE_BYTES),
        ("xgboost_v1/a_manifest.json", limits.MANIFEST_BYTES),
        ("xgboost_v1/a_metadata.json", limits.RECORD_BYTES),
        ("xgboost_v1/a.json", limits.MODEL_BYTES),
        ("a/prefix/catboost_v8/a.cbm", limits.MODEL_BYTES),
        ("boosters/ab.json", limits.MODEL_BYTES),
        ("feature_store_snapshot/2022-01.parquet", limits.OBJECT_BYTES),
        ("a.json", limits.OBJECT_BYTES),
    ],
)
def test_every_object_has_a_limit_by_its_name(name: str, expected: int) -> None:
    assert limits.object_limit(name) == expected
