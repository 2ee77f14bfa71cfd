"""Versions of a date on their way into the table: of each date exactly the one that counts is active there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import product

import pytest

from nba_ml.slates.operations import send_slate
from nba_ml.slates.prediction_rows import TableWrite
from nba_ml.slates.prediction_table import BigQueryPredictionTable
from nba_ml.slates.store import KeptSlate
from nba_ml_tests.slate_scene import AFTERWARDS, BEFORE_THE_GAMES, slate, systems
from nba_ml_tests.slates.test_prediction_table import Table, table

__all__ = ["table"]


def keep(there: Table, serial: int, at: datetime) -> KeptSlate:
    """Another version of the date, since the channel has moved."""
    return there.store.keep(slate(who=systems(serial=serial), at=at))


def active(there: Table) -> set[int]:
    return {row["slate_version"] for row in there.rows() if row["is_active"]}


def loaded(there: Table) -> dict[int, int]:
    """Version -> rows."""
    numbers = [row["slate_version"] for row in there.rows()]
    return {number: numbers.count(number) for number in sorted(set(numbers))}


class Dies(BigQueryPredictionTable):
    """A writer that ends, as a killed process does, when it would make a version active."""

    def _activate(self, *_: object) -> int:
        raise KeyboardInterrupt


class DiesOnOthers(BigQueryPredictionTable):
    """A writer that ends before it writes a version that does not count."""

    def write(self, kept: KeptSlate, *, is_current: bool, versions: Sequence[KeptSlate] = ()) -> TableWrite:
        if not is_current:
            raise KeyboardInterrupt
        return super().write(kept, is_current=is_current, versions=versions)


def dying(there: Table, kind: Callable[..., BigQueryPredictionTable]) -> BigQueryPredictionTable:
    return kind(there.emulator.connection(), there.name)


def test_a_late_version_brings_the_one_that_counts(table: Table) -> None:
    """Guards against a date without an active row: the version that counts was never sent, a late one is."""
    first, late = keep(table, 1, BEFORE_THE_GAMES), keep(table, 2, AFTERWARDS)
    sent = send_slate(table.writer(), table.store, late)
    assert sent.current is not None
    assert (sent.current[0].number, sent.current[1].loaded, sent.written.loaded) == (1, True, True)
    assert active(table) == {1}
    assert loaded(table) == {1: first.slate.table.num_rows, 2: late.slate.table.num_rows}


def test_a_writer_that_dies_between_the_versions(table: Table) -> None:
    """Guards against a crash that leaves the date without an active row, and a second try that loads twice."""
    first, late = keep(table, 1, BEFORE_THE_GAMES), keep(table, 2, AFTERWARDS)
    with pytest.raises(KeyboardInterrupt):
        send_slate(dying(table, DiesOnOthers), table.store, late)
    assert (active(table), set(loaded(table))) == ({1}, {1})
    send_slate(table.writer(), table.store, late)
    assert active(table) == {1}
    assert loaded(table) == {1: first.slate.table.num_rows, 2: late.slate.table.num_rows}


def test_a_writer_that_dies_before_its_version_is_active(table: Table) -> None:
    """Guards against two active predictions of a player after a crash between load and update, and against none."""
    first = keep(table, 1, BEFORE_THE_GAMES)
    send_slate(table.writer(), table.store, first)
    second = keep(table, 2, BEFORE_THE_GAMES)
    with pytest.raises(KeyboardInterrupt):
        send_slate(dying(table, Dies), table.store, second)
    assert (active(table), set(loaded(table))) == ({1}, {1, 2})
    sent = send_slate(table.writer(), table.store, second)
    assert (sent.current, sent.written.loaded, sent.written.retired) == (None, False, first.slate.report.served)
    assert active(table) == {2}


def test_a_newer_version_that_overtakes_is_not_retired(table: Table) -> None:
    """Guards against the slower of two coordinators, who makes active what counted when he began."""

    class Overtaken(BigQueryPredictionTable):
        """Somebody else keeps and sends a newer version while this one loads."""

        def _load(self, *arguments: object) -> None:
            if len(table.store.versions(first.slate.report.game_date)) == 1:
                send_slate(table.writer(), table.store, keep(table, 2, BEFORE_THE_GAMES))
            super()._load(*arguments)  # type: ignore[arg-type]

    first = keep(table, 1, BEFORE_THE_GAMES)
    sent = send_slate(dying(table, Overtaken), table.store, first)
    assert sent.current is not None
    assert sent.current[0].number == 2
    assert active(table) == {2}
    assert set(loaded(table)) == {1, 2}


@pytest.mark.parametrize(("made", "counts"), [("ahead ahead late", 2), ("late late late", 1)])
@pytest.mark.parametrize("sent", [each for each in product([False, True], repeat=3) if each[2]])
def test_whatever_was_sent_before_one_version_is_active(
    table: Table, made: str, counts: int, sent: tuple[bool, ...]
) -> None:
    """Guards against an order of keeping and sending after which none, two or the wrong version is active."""
    times = {"ahead": BEFORE_THE_GAMES, "late": AFTERWARDS}
    for number, (when, goes) in enumerate(zip(made.split(), sent, strict=True), start=1):
        kept = keep(table, number, times[when])
        if goes:
            send_slate(table.writer(), table.store, kept)
    assert active(table) == {counts}
    assert set(loaded(table)) == {counts} | {number for number, goes in enumerate(sent, start=1) if goes}
