"""The values passed between assets: one per asset and month, in an object store.

Every value is complete or absent. Where an asset has several parts, those are named by their digests and written
first, and the object that names them last. A process killed in between leaves the old value as it was, and unused
parts.

What belongs here: naming, writing and reading. How a value becomes bytes is its own package's business: a
`StoredAsset` beside the value's class says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import pyarrow as pa
from pydantic import BaseModel, TypeAdapter

from nba_ml.contract.digest import HasDigest, bytes_digest
from nba_ml.contract.errors import MissingMonthsError, StaleInputError
from nba_ml.contract.systems import System
from nba_ml.storage.objects import ObjectStore
from nba_ml.storage.parquet import parquet_schema, read_parquet, write_sealed_parquet

Value = TypeVar("Value", bound=HasDigest)


@dataclass(frozen=True, slots=True)
class StoredAsset(Generic[Value]):
    """An asset's name, and the form in which the store keeps its months.

    `to_bytes` gets a value and the place for its parts; `from_bytes` gets the bytes, that place, and the columns that
    are wanted of a table (None: all of it).
    """

    name: str
    kind: type[Value]
    to_bytes: Callable[[Value, Parts], bytes]
    from_bytes: Callable[[bytes, Parts, Sequence[str] | None], Value]
    tabular: bool = False

    def of(self, system: System) -> StoredAsset[Value]:
        """The same asset in a system's chain."""
        return replace(self, name=system.asset(self.name))

    def file(self, month: str) -> str:
        """The name of a month's value in the store."""
        return f"{self.name}/{month}.{'parquet' if self.tabular else 'json'}"


def stored_record(name: str, record: type[Value]) -> StoredAsset[Value]:
    """An asset whose values are one JSON record each; `record` is a Pydantic model."""
    form = TypeAdapter(record)
    return StoredAsset(
        name,
        record,
        lambda value, _: form.dump_json(value, indent=1) + b"\n",
        lambda data, *_: form.validate_json(data),
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a month's value: objects that are named by their digests. `asset` and `month` are for messages."""

    objects: ObjectStore
    asset: str
    month: str

    def put(self, folder: str, ending: str, data: bytes) -> str:
        """Write a part and return its sha256."""
        sha256 = bytes_digest(data)
        self.objects.write(f"{folder}/{sha256}.{ending}", data)
        return sha256

    def get(self, folder: str, ending: str, sha256: str, made_by: str | None = None) -> bytes:
        """The part with this sha256.

        Raises:
            StaleInputError: it is missing or damaged. The message names the asset that makes it, `made_by`.
        """
        name = f"{folder}/{sha256}.{ending}"
        found = self.objects.read(name)
        if found is None or bytes_digest(found.data) != sha256:
            asset = made_by or self.asset
            raise StaleInputError(
                f"{self.objects.uri(name)} is missing or damaged: its digest is not the one that {asset} of "
                f"{self.month} names. Materialise {asset} for {self.month} again."
            )
        return found.data


class MonthStore:
    """Values by asset and month."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def uri(self, asset: StoredAsset[Value], month: str) -> str:
        """Address of the value's main object."""
        return self.objects.uri(asset.file(month))

    def stored(self, asset: StoredAsset[Value]) -> list[str]:
        """The months that have a value, in order."""
        names = set(self.objects.names(f"{asset.name}/"))
        months = {name.removeprefix(f"{asset.name}/").partition(".")[0] for name in names}
        return sorted(month for month in months if asset.file(month) in names)

    def save(self, asset: StoredAsset[Value], month: str, value: Value) -> None:
        """Write a value, over what was there."""
        if not isinstance(value, asset.kind):
            raise TypeError(f"{asset.name} is a {asset.kind.__name__} and cannot be a {type(value).__name__}")
        self.objects.write(asset.file(month), asset.to_bytes(value, Parts(self.objects, asset.name, month)))

    def load(self, asset: StoredAsset[Value], month: str, columns: Sequence[str] | None = None) -> Value | None:
        """Read a value, tables with the named columns only; None if it was never written.

        Raises:
            StaleInputError: what is stored is damaged, or was written by another version of this code.
        """
        found = self.objects.read(asset.file(month))
        if found is None:
            return None
        with self.readable(asset, month):
            return asset.from_bytes(found.data, Parts(self.objects, asset.name, month), columns)

    def require(
        self, asset: StoredAsset[Value], months: Sequence[str], columns: Sequence[str] | None = None
    ) -> dict[str, Value]:
        """The values of all the months.

        Raises:
            MissingMonthsError: one of them was never written; names them all.
            StaleInputError: as `load`.
        """
        found = {month: self.load(asset, month, columns) for month in months}
        _require_all(asset, [month for month, value in found.items() if value is None])
        return {month: value for month, value in found.items() if value is not None}

    def one_by_one(
        self, asset: StoredAsset[Value], months: Sequence[str], columns: Sequence[str] | None = None
    ) -> MonthByMonth[Value]:
        """As `require`, of many rows: each value is read when it is asked for, and not kept.

        Raises:
            MissingMonthsError: as `require`.
        """
        stored = set(self.stored(asset))
        _require_all(asset, [month for month in months if month not in stored])
        return MonthByMonth(self, asset, tuple(months), columns)

    @contextmanager
    def readable(self, asset: StoredAsset[Value], month: str) -> Iterator[None]:
        """Turn the errors of reading a damaged value into a StaleInputError that names it."""
        try:
            yield
        except (pa.ArrowInvalid, OSError, ValueError, TypeError, LookupError) as error:
            raise StaleInputError(
                f"{self.uri(asset, month)} cannot be read ({str(error).splitlines()[0]}): it is damaged, or another "
                f"version of nba_ml wrote it. Materialise {asset.name} for {month} again."
            ) from error


class MonthByMonth(Mapping[str, Value]):
    """Values by month, each read from the store whenever it is asked for."""

    def __init__(
        self, store: MonthStore, asset: StoredAsset[Value], months: Sequence[str], columns: Sequence[str] | None
    ) -> None:
        self._store, self._asset, self._months, self._columns = store, asset, months, columns
        self._digests: dict[str, str] = {}

    def __getitem__(self, month: str) -> Value:
        """The value.

        Raises:
            StaleInputError: it is damaged, gone, or another one than when it was first read.
        """
        if month not in self._months:
            raise KeyError(month)
        value = self._store.load(self._asset, month, self._columns)
        if value is None or value.digest != self._digests.setdefault(month, value.digest):
            raise StaleInputError(
                f"{self._store.uri(self._asset, month)} was changed while it was being read. Try again when no other "
                f"run is making {self._asset.name} for {month}."
            )
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._months)

    def __len__(self) -> int:
        return len(self._months)

    def digests(self) -> dict[str, str]:
        """Month -> digest; of a month that has been read before without reading it again."""
        return {month: self._digests.get(month) or self[month].digest for month in self._months}


def _require_all(asset: StoredAsset[Value], missing: list[str]) -> None:
    if not missing:
        return
    error = MissingMonthsError(
        f"{asset.name} was never materialised for {_named(missing)}. A model must not be trained with "
        f"months missing: run `nba-ml backfill --from {missing[0]} --to {missing[-1]} --only-missing --assets "
        f"{asset.name}`, or materialise those partitions in the UI, then try again."
    )
    error.months = missing
    raise error


def parquet_bytes(table: pa.Table, facts: Mapping[str, str]) -> bytes:
    """A table as Parquet, with facts in its schema's metadata."""
    return write_sealed_parquet(table.replace_schema_metadata({f"nba_ml.{k}": v for k, v in facts.items()}))


def parquet_table(data: bytes, columns: Sequence[str] | None) -> tuple[pa.Table, dict[str, str]]:
    """The table that `parquet_bytes` wrote, or some of its columns, and the facts."""
    table = read_parquet(data, columns)
    return table.replace_schema_metadata(None), _facts_of(table.schema)


def parquet_facts(data: bytes) -> dict[str, str]:
    """What `parquet_table` reads beside the rows, without the rows."""
    return _facts_of(parquet_schema(data))


def record_bytes(value: BaseModel) -> bytes:
    """A record as indented JSON with a newline at the end."""
    return value.model_dump_json(indent=1).encode() + b"\n"


def _facts_of(schema: pa.Schema) -> dict[str, str]:
    metadata = schema.metadata or {}
    return {k.decode().removeprefix("nba_ml."): v.decode() for k, v in metadata.items() if k.startswith(b"nba_ml.")}


def _named(months: list[str]) -> str:
    # Seven are all named: "1 more months" would be neither shorter nor English.
    return ", ".join(months) if len(months) <= 7 else f"{', '.join(months[:6])} and {len(months) - 6} more months"
