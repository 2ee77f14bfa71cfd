"""Storage of slates: every version has its own name and is never overwritten.

Grading needs the predictions that were served, not those that would be served today. A date's versions are therefore
numbered objects that are created but never replaced. A slate equal to the newest version is not stored again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import pyarrow as pa

from nba_ml.contract.errors import ChannelError, SlateError
from nba_ml.data.tables import GAME_FACTS, SLATE_PREDICTIONS, with_later_columns
from nba_ml.registry.channel import Channel
from nba_ml.slates.grades import SlateGrades
from nba_ml.slates.slate import Slate, SlateReport
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, ObjectStore
from nba_ml.storage.parquet import read_parquet, write_sealed_parquet

FOLDER = "slates"
LATEST_STATE = "slates/latest_state.json"
"""The latest state of the channel that a slate was scored with. It is not beside the channel, where whoever puts an old
state back could put an old copy of this back too."""

GRADES = "slate_grades"

_NAME = re.compile(r"slates/(\d{4}-\d{2}-\d{2})/(\d{6})\.parquet")


@dataclass(frozen=True, slots=True)
class KeptSlate:
    """A stored version of a date's slate: its number (from 1) and location. `new` is whether this call stored it."""

    slate: Slate
    number: int
    uri: str
    new: bool = False

    @property
    def slate_id(self) -> str:
        """Unique id of this version: `<date>-<number>-<first 12 digits of the digest>`."""
        return f"{self.slate.report.game_date}-{self.number:06d}-{self.slate.digest[:12]}"


def current_version(versions: Sequence[KeptSlate]) -> KeptSlate:
    """The version of a date that counts, which is the one served when the games began. `versions` are oldest first.

    It is the newest version made ahead that has predictions. If none was made ahead, the first version counts: later
    ones could have been chosen for their results. Raises ValueError without versions.
    """
    if not versions:
        raise ValueError("a date without versions has none that counts")
    ahead = [version for version in versions if version.slate.ahead]
    predicting = [version for version in ahead if version.slate.report.served]
    return (predicting or ahead or versions[:1])[-1]


class SlateStore:
    """Slates by date and number, and the grades of months."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def keep(self, slate: Slate) -> KeptSlate:
        """Store a slate as the newest version of its date, unless the newest differs only in `created_at`.

        Two slates stored at the same time get different numbers.

        Raises:
            SlateError: the newest version is damaged.
        """
        day = slate.report.game_date
        data = slate_parquet(slate)
        while True:
            newest = self.newest(day)
            if newest is not None and newest.slate.digest == slate.digest:
                return newest
            number = newest.number + 1 if newest else 1
            name = _name(day, number)
            try:
                self.objects.create(name, data)
            except ObjectExistsError:
                continue  # another process stored a version meanwhile, perhaps the same one
            return KeptSlate(slate, number, self.objects.uri(name), new=True)

    def versions(self, day: date) -> list[KeptSlate]:
        """Every version of a date, oldest first.

        Raises:
            SlateError: one of them is damaged.
        """
        return [self._read(day, number) for number in self._numbers(day)]

    def newest(self, day: date) -> KeptSlate | None:
        """The latest version of a date, whether it counts or not; None if there is none.

        Raises:
            SlateError: it is damaged.
        """
        numbers = self._numbers(day)
        return self._read(day, numbers[-1]) if numbers else None

    def current(self, day: date) -> KeptSlate | None:
        """The version of a date that counts (`current_version`); None if there is none."""
        versions = self.versions(day)
        return current_version(versions) if versions else None

    def require_no_older(self, state: Channel) -> None:
        """Require that a channel's state is the one of the last slate, or a later one.

        Raises:
            ChannelError: it is not, or the stored state is damaged.
        """
        found = self.objects.read(LATEST_STATE)
        if found is None:
            return
        uri = self.objects.uri(LATEST_STATE)
        last = Channel.from_bytes(found.data, uri)
        if not state.is_or_follows(last):
            raise ChannelError(
                f"The channel is at serial {state.serial} ({state.champion.model_id}), and an earlier slate was "
                f"scored at serial {last.serial} ({last.champion.model_id}), as {uri} says: an old copy was "
                "put back. Restore the newest state from channels/history/. If the channel was recreated on purpose, "
                "remove that object."
            )

    def keep_state(self, state: Channel) -> None:
        """Store the state that a slate is scored with, unless a later one is stored.

        Raises:
            ChannelError: the stored state is damaged.
        """
        while True:
            found = self.objects.read(LATEST_STATE)
            try:
                if found is None:
                    self.objects.create(LATEST_STATE, state.to_bytes())
                elif state.serial > Channel.from_bytes(found.data, self.objects.uri(LATEST_STATE)).serial:
                    self.objects.swap(LATEST_STATE, state.to_bytes(), found.generation)
            except (ObjectExistsError, GenerationMismatchError):
                continue  # another process scored a slate meanwhile
            return

    def days(self, month: str) -> list[date]:
        """The dates of a month that have a slate, in order."""
        matches = (_NAME.fullmatch(name) for name in self.objects.names(f"{FOLDER}/{month}-"))
        return sorted({date.fromisoformat(match[1]) for match in matches if match})

    def save_grades(self, grades: SlateGrades) -> str:
        """Write a month's grades, replacing earlier ones. Returns their URI."""
        facts = {"report": grades.report.model_dump_json(), "digest": grades.digest}
        self.objects.write(f"{GRADES}/{grades.report.month}.parquet", _parquet(grades.table, facts))
        return self.grades_uri(grades.report.month)

    def grades_uri(self, month: str) -> str:
        """URI of a month's grades."""
        return self.objects.uri(f"{GRADES}/{month}.parquet")

    def _numbers(self, day: date) -> list[int]:
        matches = (_NAME.fullmatch(name) for name in self.objects.names(f"{FOLDER}/{day}/"))
        return sorted(int(match[2]) for match in matches if match)

    def _read(self, day: date, number: int) -> KeptSlate:
        name = _name(day, number)
        uri = self.objects.uri(name)
        found = self.objects.read(name)
        if found is None:
            raise SlateError(
                f"{uri} was removed after it was listed. Slates must not be removed: restore it from a backup."
            )
        return KeptSlate(read_slate(found.data, uri), number, uri)


def slate_parquet(slate: Slate) -> bytes:
    """A slate as a Parquet file: its rows, and its report, digest and time as metadata."""
    facts = {
        "report": slate.report.model_dump_json(),
        "created_at": slate.created_at.isoformat(),
        "digest": slate.digest,
    }
    return _parquet(slate.table, facts)


def read_slate(data: bytes, uri: str) -> Slate:
    """Read a file written by `slate_parquet`. `uri` is for messages.

    Raises:
        SlateError: the file is not Parquet, has another format, or does not match its digest.
    """
    try:
        table = read_parquet(data)
        facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        report = SlateReport.model_validate_json(facts["nba_ml.report"])
        created_at = datetime.fromisoformat(facts["nba_ml.created_at"])
        for name in GAME_FACTS:
            if name not in table.column_names:  # kept before there were any
                field = SLATE_PREDICTIONS.field(name)
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        slate = Slate.of(table.replace_schema_metadata(None), report, created_at)
        stated = facts["nba_ml.digest"]
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
        raise SlateError(
            f"{uri} cannot be read ({str(error).splitlines()[0][:200]}): it is damaged, or another version of nba_ml "
            "wrote it. Restore it from a backup, because served predictions cannot be recreated."
        ) from error
    # The digest is that of the columns that were kept.
    slate = replace(slate, table=with_later_columns(slate.table, SLATE_PREDICTIONS))
    # The digest excludes the time, which decides whether a version counts, so compare it with the rows' time.
    times = set(slate.table.column("created_at").to_pylist()) - {created_at}
    if slate.digest != stated or times:
        content = f"rows made at {min(times)}" if times else f"the digest {slate.digest}"
        raise SlateError(
            f"{uri} is damaged: its metadata has the digest {stated} and the time {created_at}, its content has "
            f"{content}. Restore it from a backup, because served predictions cannot be recreated."
        )
    return slate


def _name(day: date, number: int) -> str:
    return f"{FOLDER}/{day}/{number:06d}.parquet"


def _parquet(table: pa.Table, facts: dict[str, str]) -> bytes:
    return write_sealed_parquet(table.replace_schema_metadata({f"nba_ml.{key}": value for key, value in facts.items()}))
