"""What passes between assets: one value an asset and month, in an object store.

The only place that knows how values are named and written. Every value is whole or not there: where an asset has
several parts, those are named by their digests and written first, and what names them is written last. So a process
that is killed in between leaves the old value as it was, and parts that nobody names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, TypeAdapter

from nba_ml.contract.digest import HasDigest, bytes_digest
from nba_ml.contract.errors import MissingMonthsError, StaleInputError
from nba_ml.data.lines import FeatureMonth, LineCounts, LineOutcome
from nba_ml.data.snapshot import REJECTS_SCHEMA, Snapshot, SnapshotCounts
from nba_ml.data.split import SplitManifest
from nba_ml.data.table_digest import DigestedTable
from nba_ml.data.tables import RESULTS
from nba_ml.evaluation.grades import GradedMonth, GradeReport
from nba_ml.evaluation.predictions import MonthPredictions, PredictingModel
from nba_ml.model.challengers import ChallengerReport
from nba_ml.model.record import ModelRecord, TrainingReport
from nba_ml.model.values import DescribedModel, TrainedModel
from nba_ml.registry.artifact import Artifact
from nba_ml.storage.objects import ObjectStore

SNAPSHOT, MODEL = "feature_store_snapshot", "xgboost_model"
"""The assets that have parts."""


class MonthStore:
    """Values by asset and month."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def uri(self, asset: str, month: str) -> str:
        """Address of the value's main object."""
        return self.objects.uri(self._name(asset, month))

    def save(self, asset: str, month: str, value: object) -> None:
        """Write a value, over what was there."""
        match value:
            case Snapshot():
                facts = {
                    "digest": value.digest,
                    "counts": json.dumps(asdict(value.counts)),
                    "rejects": self._save_part(value.rejects),
                    "results": self._save_part(value.results),
                    **_lines_fact(value.lines),
                }
                data = _parquet(value.table, facts)
            case FeatureMonth():
                data = _parquet(value.table, {"digest": value.digest, **_lines_fact(value.lines)})
            case DigestedTable():
                data = _parquet(value.table, {"digest": value.digest})
            case MonthPredictions():
                model = "null" if value.model is None else value.model.model_dump_json()
                data = _parquet(value.table, {"model": model, "digest": value.digest})
            case GradedMonth():
                data = _parquet(value.table, {"report": value.report.model_dump_json(), "digest": value.digest})
            case TrainedModel():
                if value.booster is not None:
                    self.objects.write(_booster_name(bytes_digest(value.booster)), value.booster)
                data = _json(value.report)
            case DescribedModel():
                data = value.record.to_bytes() if value.record else b"null\n"
            case BaseModel():
                data = _json(value)
            case _:
                raise TypeError(f"{asset} cannot be stored: {type(value).__name__} has no form in the store")
        self.objects.write(self._name(asset, month), data)

    def load(self, asset: str, month: str, columns: Sequence[str] | None = None) -> HasDigest | None:
        """Read a value, tables with the named columns only; None if it was never written.

        Raises:
            StaleInputError: what is stored is damaged, or was written by another version of this code.
        """
        found = self.objects.read(self._name(asset, month))
        if found is None:
            return None
        with self._readable(asset, month):
            return self._value(asset, month, found.data, columns)

    def require(self, asset: str, months: Sequence[str], columns: Sequence[str] | None = None) -> dict[str, HasDigest]:
        """The values of all the months.

        Raises:
            MissingMonthsError: one of them was never written; names them all.
            StaleInputError: as `load`.
        """
        found = {month: self.load(asset, month, columns) for month in months}
        missing = [month for month, value in found.items() if value is None]
        if missing:
            raise MissingMonthsError(
                f"{asset} was never materialised for {_named(missing)}. A model trained around a hole would not know: "
                f"run `nba-ml backfill --from {missing[0]} --to {missing[-1]} --only-missing --assets {asset}`, or "
                "materialise those partitions in the UI, then try again."
            )
        return {month: value for month, value in found.items() if value is not None}

    def _value(self, asset: str, month: str, data: bytes, columns: Sequence[str] | None) -> HasDigest:
        match asset:
            case "player_game_summary" | "ml_feature_store_v2":
                table, facts = _table(data, columns)
                lines = _lines(facts)
                return FeatureMonth(table, facts["digest"], lines) if lines else DigestedTable(table, facts["digest"])
            case "feature_store_snapshot":
                table, facts = _table(data, columns)
                counts = SnapshotCounts(**json.loads(facts["counts"]))
                return Snapshot(
                    table=table,
                    rejects=REJECTS_SCHEMA.empty_table() if columns else self._part(month, facts, "rejects"),
                    results=RESULTS.empty_table() if columns else self._part(month, facts, "results"),
                    counts=counts,
                    digest=facts["digest"],
                    lines=_lines(facts),
                )
            case "predictions":
                table, facts = _table(data, columns)
                return MonthPredictions(table, _NO_MODEL_OR_MODEL.validate_json(facts["model"]), facts["digest"])
            case "prediction_grades":
                table, facts = _table(data, columns)
                return GradedMonth(table, GradeReport.model_validate_json(facts["report"]), facts["digest"])
            case "train_split":
                return SplitManifest.model_validate_json(data)
            case "xgboost_model":
                report = TrainingReport.model_validate_json(data)
                return TrainedModel(report, self._booster(report.model_sha256, month))
            case "model_metadata":
                record = _NO_RECORD_OR_RECORD.validate_json(data)
                return DescribedModel(record, self._booster(record.model_sha256 if record else None, month))
            case "challengers":
                return ChallengerReport.model_validate_json(data)
            case "gcs_artifact":
                return Artifact.model_validate_json(data)
            case _:
                raise KeyError(f"no asset {asset} in the store")

    def results(self, month: str) -> pa.Table | None:
        """Everybody who played in a month that has a snapshot, in `tables.RESULTS`; None if it has none.

        Raises:
            StaleInputError: as `load`.
        """
        snapshot = self.objects.read(self._name(SNAPSHOT, month))
        with self._readable(SNAPSHOT, month):
            return None if snapshot is None else self._part(month, _facts(snapshot.data), "results")

    def save_refused(self, asset: str, month: str, rejects: pa.Table) -> str:
        """Keep the rejected rows of a snapshot that was refused, beside whatever is there. Returns their address."""
        name = self._name(asset, month, "refused.parquet")
        self.objects.write(name, _parquet(rejects, {}))
        return self.objects.uri(name)

    def _booster(self, sha256: str | None, month: str) -> bytes | None:
        return None if sha256 is None else self._named_by_digest(_booster_name(sha256), sha256, MODEL, month)

    def _save_part(self, table: pa.Table) -> str:
        data = _parquet(table, {})
        self.objects.write(_part_name(bytes_digest(data)), data)
        return bytes_digest(data)

    def _part(self, month: str, facts: dict[str, str], part: str) -> pa.Table:
        """A table that a snapshot names. In an older store it lies beside, under no digest."""
        if part in facts:
            data = self._named_by_digest(_part_name(facts[part]), facts[part], SNAPSHOT, month)
        else:
            beside = self.objects.read(self._name(SNAPSHOT, month, f"{part}.parquet"))
            if beside is None:
                raise LookupError(f"its {part} are not there")
            data = beside.data
        return _table(data, None)[0]

    def _named_by_digest(self, name: str, sha256: str, asset: str, month: str) -> bytes:
        found = self.objects.read(name)
        if found is None or bytes_digest(found.data) != sha256:
            raise StaleInputError(
                f"{self.objects.uri(name)} is missing or damaged: its digest is not the one that {asset} of {month} "
                f"names. Materialise {asset} for {month} again."
            )
        return found.data

    @contextmanager
    def _readable(self, asset: str, month: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowInvalid, OSError, ValueError, TypeError, LookupError) as error:
            raise StaleInputError(
                f"{self.uri(asset, month)} cannot be read ({str(error).splitlines()[0]}): it is damaged, or another "
                f"version of nba_ml wrote it. Materialise {asset} for {month} again."
            ) from error

    @staticmethod
    def _name(asset: str, month: str, ending: str | None = None) -> str:
        return f"{asset}/{month}.{ending or ('parquet' if asset in _TABULAR else 'json')}"


_TABULAR = frozenset(
    {"player_game_summary", "ml_feature_store_v2", "feature_store_snapshot", "predictions", "prediction_grades"}
)
_NO_MODEL_OR_MODEL: TypeAdapter[PredictingModel | None] = TypeAdapter(PredictingModel | None)
_NO_RECORD_OR_RECORD: TypeAdapter[ModelRecord | None] = TypeAdapter(ModelRecord | None)


def _part_name(sha256: str) -> str:
    return f"parts/{sha256}.parquet"


def _booster_name(sha256: str) -> str:
    return f"boosters/{sha256}.json"


def _parquet(table: pa.Table, facts: dict[str, str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({f"nba_ml.{k}": v for k, v in facts.items()}), sink, compression="zstd"
    )
    return bytes(sink.getvalue())


def _table(data: bytes, columns: Sequence[str] | None) -> tuple[pa.Table, dict[str, str]]:
    table = pq.read_table(pa.BufferReader(data), columns=None if columns is None else list(columns))
    return table.replace_schema_metadata(None), _facts_of(table.schema)


def _facts(data: bytes) -> dict[str, str]:
    """What `_table` reads beside the rows, without the rows."""
    return _facts_of(pq.read_schema(pa.BufferReader(data)))


def _facts_of(schema: pa.Schema) -> dict[str, str]:
    metadata = schema.metadata or {}
    return {k.decode().removeprefix("nba_ml."): v.decode() for k, v in metadata.items() if k.startswith(b"nba_ml.")}


def _lines_fact(lines: LineCounts | None) -> dict[str, str]:
    return {"lines": json.dumps(asdict(lines))} if lines else {}


def _lines(facts: dict[str, str]) -> LineCounts | None:
    """What became of the month's lines; None where nothing says so, as in a store of an earlier version."""
    if "lines" not in facts:
        return None
    found = json.loads(facts["lines"])
    return LineCounts({LineOutcome(name): n for name, n in found["by_outcome"].items()}, found["named_otherwise"])


def _named(months: list[str]) -> str:
    shown = ", ".join(months[:6])
    return shown if len(months) <= 6 else f"{shown} and {len(months) - 6} more months"


def _json(value: BaseModel) -> bytes:
    return value.model_dump_json(indent=1).encode() + b"\n"
