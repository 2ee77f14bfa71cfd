"""Text from outside is written out where it would steer a terminal, break a line or hide."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.cli.wrapper import escaped
from nba_ml.contract.errors import NbaMlError, SourceDataError
from nba_ml.contract.text import clean, printable, printable_lines
from nba_ml.data.box_scores import typed_columns
from nba_ml.monitoring.notify import Notice
from nba_ml.registry.channel import Channel, ChannelModel, next_state
from nba_ml.registry.verdict import Override
from nba_ml.sources.importers import values
from nba_ml_tests.conftest import games_of

HOSTILE = "Lu\x1b[2Jka\u202e\u200b D\u009bo\u2066n"
WRITTEN_OUT = r"Lu\x1b[2Jka\u202e\u200b D\x9bo\u2066n"
BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def steers(text: str) -> list[str]:
    """By Unicode's own properties, of which the product has a fixed list."""
    kinds = ("Cc", "Zl", "Zp", "Cs")
    return [c for c in text if unicodedata.category(c) in kinds or unicodedata.bidirectional(c) in BIDI]


@given(st.text(st.characters(codec=None)))
def test_nothing_that_steers_is_left(text: str) -> None:
    assert not steers(printable(text))
    assert not steers(printable_lines(text).replace("\n", ""))
    assert printable_lines(text).count("\n") == text.count("\n")
    assert not steers(clean(text))
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert text == printable(text) == printable_lines(text) == clean(text)


def test_every_character_that_steers_is_written_out() -> None:
    """All of Unicode, once: a sample by chance would seldom have a mark of direction."""
    for code in range(0x110000):
        if steers(chr(code)):
            assert printable(chr(code)).isascii(), hex(code)
    assert printable("Dončić \N{NO-BREAK SPACE}Jr.") == "Dončić \N{NO-BREAK SPACE}Jr."
    assert printable(HOSTILE) == WRITTEN_OUT


def test_errors_notices_and_reasons_are_written_out() -> None:
    """Guards the terminal, the log, the page and the mail, each at the one place where text enters."""
    assert str(SourceDataError(f"The player {HOSTILE}\nis unknown.")) == f"The player {WRITTEN_OUT}\nis unknown."
    assert issubclass(SourceDataError, NbaMlError)
    assert escaped(f"[red]{HOSTILE}") == rf"\[red]{WRITTEN_OUT}"
    notice = Notice("error", f"failed\nOK {HOSTILE}", f"first\nsecond {HOSTILE}", "do it", month="2025-01\r\nBcc: x")
    assert notice.title == rf"failed\nOK {WRITTEN_OUT}"
    assert notice.said == f"first\nsecond {WRITTEN_OUT}"
    assert notice.month == r"2025-01\r\nBcc: x"
    assert Override(check="a.b", reason=HOSTILE).reason == WRITTEN_OUT
    at = datetime(2025, 1, 1, tzinfo=UTC)
    model_id = "xgboost_v1_33features_202501_0123456789ab"
    model = ChannelModel(system_id="xgboost_v1", model_id=model_id, manifest_sha256="0" * 64)
    first = Channel(serial=1, champion=model, kind="promote", reason="a reason", moved_at=at)
    assert next_state(first, kind="promote", reason=f"{HOSTILE}\nx", at=at).reason == rf"{WRITTEN_OUT}\nx"


def test_names_in_data_lose_what_hides_in_them() -> None:
    """Guards the pages that show a name, and its key: what is written out would become letters of the name."""
    assert values.name(HOSTILE) == "Lu[2Jka Don"
    assert clean("Luka\n\tDon\u2028cic") == "Luka  Don cic"
    games = games_of("2022-06")
    names = [f"{name}\u202e\x1b" for name in games.column("player_name").to_pylist()]
    at = games.column_names.index("player_name")
    hostile = games.set_column(at, "player_name", pa.array(names))
    every = [chr(point) for point in range(sys.maxunicode + 1)]
    assert [each for each in every if clean(each) != each] == [each for each in every if printable(each) != each]
    read, expected = (typed_columns(each, ["player_name"], "x").table for each in (hostile, games))
    assert read.equals(expected)
