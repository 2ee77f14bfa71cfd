"""Values by asset and month: what is saved comes back the same, and what is damaged is named."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.digest import HasDigest, bytes_digest
from nba_ml.contract.errors import StaleInputError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.lines import FeatureMonth, LineCounts, LineOutcome
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.split import split_by_date
from nba_ml.data.stored import results_of, save_refused
from nba_ml.data.table_digest import DigestedTable, table_digest
from nba_ml.model.record import TrainingReport
from nba_ml.model.stored import measured_booster
from nba_ml.model.values import DescribedModel, TrainedModel
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.verdict import CheckVerdict, Verdict
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.conftest import QUICK, Trained, features_of, snapshot_of, summary_of
from nba_ml_tests.registry.stoppable import Killed, Order, dying_at

MONTH = "2021-11"


@pytest.fixture
def store(tmp_path: Path) -> MonthStore:
    return MonthStore(DirectoryStore(tmp_path))


def loaded(store: MonthStore, asset: str, month: str = MONTH) -> HasDigest:
    value: HasDigest | None = store.load(STORED[asset], month)
    assert value is not None
    return value


def snapshot_with_rejects() -> Snapshot:
    features = features_of(MONTH)
    versions = pa.array(["v1"] * 3 + [V2_33FEATURES.name] * (features.num_rows - 3))
    late = features.set_column(13, features.schema.field(13), pa.array([False] * features.num_rows))
    old = late.set_column(7, features.schema.field(7), versions).slice(0, 4000)
    return take_snapshot(MonthRows.of_tables(old, summary_of(MONTH), V2_33FEATURES), MONTH, V2_33FEATURES)


# --- there and back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ["player_game_summary", "ml_feature_store_v2"])
def test_tables_come_back_equal_with_their_digest(store: MonthStore, asset: str) -> None:
    """Guards against types or NaN lost in Parquet, and against a digest that no longer names what is stored."""
    table = (summary_of if asset == "player_game_summary" else features_of)(MONTH)
    store.save(STORED[asset], MONTH, DigestedTable(table, table_digest(table)))
    value = loaded(store, asset)
    assert isinstance(value, DigestedTable)
    assert value.digest == table_digest(table) == table_digest(value.table)
    assert value.table.schema.names == table.schema.names
    assert value.table.schema.metadata is None


def test_a_snapshot_comes_back_with_rejects_and_counts(store: MonthStore) -> None:
    """Guards against a snapshot that is judged by other counts, or trained on other bytes, than it was taken with."""
    snapshot = snapshot_with_rejects()
    assert snapshot.counts.rejected == 3
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot)
    value = loaded(store, "feature_store_snapshot")
    assert isinstance(value, Snapshot)
    assert (value.digest, value.counts) == (snapshot.digest, snapshot.counts)
    assert table_digest(value.table) == snapshot.digest
    assert value.table.schema == snapshot.table.schema
    assert value.rejected_by_reason == snapshot.rejected_by_reason == {"feature version is not v2_33features": 3}


def test_counts_of_lines_come_back_with_features_and_snapshot(store: MonthStore) -> None:
    """Guards a check that judges no lines, or those of another month, because their counts were lost on the way."""
    counts = LineCounts({LineOutcome.BY_ID: 7, LineOutcome.DAY_BEFORE: 2}, named_otherwise=1)
    store.save(STORED["ml_feature_store_v2"], MONTH, FeatureMonth(features_of(MONTH), "digest", counts))
    store.save(STORED["feature_store_snapshot"], MONTH, replace(snapshot_of(MONTH), lines=counts))
    features = loaded(store, "ml_feature_store_v2")
    assert isinstance(features, FeatureMonth)
    assert (features.lines, features.digest) == (counts, "digest")
    snapshot = loaded(store, "feature_store_snapshot")
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.lines, snapshot.digest) == (counts, snapshot_of(MONTH).digest)


def test_named_columns_only_keep_the_digest_of_the_whole(store: MonthStore) -> None:
    """Guards against a split that names the digest of its one column instead of the snapshot's."""
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot_of(MONTH))
    value = store.load(STORED["feature_store_snapshot"], MONTH, columns=["game_date"])
    assert isinstance(value, Snapshot)
    assert value.table.column_names == ["game_date"]
    assert value.table["game_date"].equals(snapshot_of(MONTH).table["game_date"])
    assert value.digest == snapshot_of(MONTH).digest


def test_split_model_record_and_artifact_come_back_equal(store: MonthStore, trained: Trained) -> None:
    """Guards against a field that JSON drops or changes between two assets."""
    verdict = Verdict(
        model_sha256="m", checks=(CheckVerdict(asset="a", check="c", month=MONTH, passed=True, subject="s"),)
    )
    values: dict[str, HasDigest] = {
        "train_split": trained.split,
        "xgboost_model": TrainedModel(trained.report, trained.fitted.booster),
        "model_metadata": DescribedModel(trained.record, trained.fitted.booster),
        "gcs_artifact": Artifact(model_id="x", uris={"booster": "u"}, sha256={"booster": "d"}, verdict=verdict),
    }
    for asset, value in values.items():
        store.save(STORED[asset], MONTH, value)
        assert loaded(store, asset) == value
        assert loaded(store, asset).digest == value.digest


def test_the_measured_booster_is_kept_beside_the_shipped_one(store: MonthStore, trained: Trained) -> None:
    """Guards comparisons without training: the booster that the metrics were measured with, intact or not at all."""
    shipped = b"{}"
    report = trained.report.model_copy(update={"model_sha256": bytes_digest(shipped)})
    assert measured_booster(store, trained.record) is None
    store.save(STORED["xgboost_model"], MONTH, TrainedModel(report, shipped, trained.fitted.booster))
    assert loaded(store, "xgboost_model") == TrainedModel(report, shipped)
    assert measured_booster(store, trained.record) == trained.fitted.booster
    store.objects.write(f"boosters/{trained.record.measured_sha256}.json", trained.fitted.booster[:-1])
    assert measured_booster(store, trained.record) is None


def test_no_model_yet_comes_back_as_none(store: MonthStore) -> None:
    """Guards against an October whose "nothing yet" is taken for "never materialised"."""
    report = TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version=V2_33FEATURES.name)
    values: dict[str, HasDigest] = {
        "xgboost_model": TrainedModel(report, None),
        "model_metadata": DescribedModel(None, None),
        "gcs_artifact": Artifact(),
    }
    for asset, value in values.items():
        store.save(STORED[asset], MONTH, value)
        assert loaded(store, asset) == value


def test_months_and_assets_do_not_mix(store: MonthStore, trained: Trained) -> None:
    """Guards against a month that overwrites another, and against one booster stored once a month."""
    model = TrainedModel(trained.report, trained.fitted.booster)
    store.save(STORED["xgboost_model"], "2021-12", model)
    store.save(STORED["xgboost_model"], "2022-10", model)
    assert store.load(STORED["xgboost_model"], MONTH) is None
    assert store.load(STORED["train_split"], "2021-12") is None
    assert len(store.objects.names("boosters/")) == 1
    assert store.uri(STORED["xgboost_model"], "2021-12") != store.uri(STORED["xgboost_model"], "2022-10")


def test_saving_again_replaces_the_value(store: MonthStore) -> None:
    """Guards against the old rows, or the old rejects, staying behind a month that was corrected."""
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot_with_rejects())
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot_of(MONTH))
    value = loaded(store, "feature_store_snapshot")
    assert isinstance(value, Snapshot)
    assert value.digest == snapshot_of(MONTH).digest
    assert value.rejects.num_rows == 0


def test_refused_rows_lie_beside_a_snapshot_that_stays(store: MonthStore) -> None:
    """Guards against a refused month taking the good snapshot with it."""
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot_of(MONTH))
    before = {name: store.objects.read(name) for name in store.objects.names("feature_store_snapshot/")}
    refused = snapshot_with_rejects().rejects
    uri = save_refused(store, MONTH, refused)
    assert uri.endswith("feature_store_snapshot/2021-11.refused.parquet")
    assert {name: store.objects.read(name) for name in before} == before
    assert loaded(store, "feature_store_snapshot").digest == snapshot_of(MONTH).digest


@pytest.mark.parametrize("kind", ["directory", "cloud"])
@pytest.mark.parametrize("order", ["die before", "die after"])
def test_a_save_that_is_killed_leaves_the_old_snapshot_or_the_new_one(
    store: MonthStore, request: pytest.FixtureRequest, kind: str, order: Order
) -> None:
    """Guards against one take's table with another's results and rejects, at whatever call the process was killed."""
    if kind == "cloud":
        store = MonthStore(request.getfixturevalue("cloud_store"))
    old, new = snapshot_of(MONTH), snapshot_with_rejects()
    assert old.results.num_rows == new.results.num_rows
    new = replace(new, results=new.results.slice(1))
    ends = set()
    for call in range(5):
        store.save(STORED["feature_store_snapshot"], MONTH, old)
        done = False
        with suppress(Killed):
            MonthStore(dying_at(store.objects, call, order)).save(STORED["feature_store_snapshot"], MONTH, new)
            done = True
        value = loaded(store, "feature_store_snapshot")
        assert isinstance(value, Snapshot)
        whole = new if value.digest == new.digest else old
        assert (value.counts, value.results) == (whole.counts, whole.results)
        assert value.rejected_by_reason == whole.rejected_by_reason
        assert results_of(store, MONTH) == whole.results
        ends.add((done, whole is new))
    assert ends == {(False, False), (True, True)} | ({(False, True)} if order == "die after" else set())


def test_a_snapshot_with_its_parts_beside_it_is_read(store: MonthStore) -> None:
    """Guards a home from before the parts were named by their digests."""
    snapshot = snapshot_with_rejects()
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot)
    main = store.objects.read(f"feature_store_snapshot/{MONTH}.parquet")
    assert main is not None
    table = pq.read_table(pa.BufferReader(main.data))
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    del facts["nba_ml_sha256"]
    for part in ("rejects", "results"):
        name = f"parts/{facts.pop(f'nba_ml.{part}')}.parquet"
        found = store.objects.read(name)
        assert found is not None
        store.objects.write(f"feature_store_snapshot/{MONTH}.{part}.parquet", found.data)
        store.objects.delete(name)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(facts), sink)
    store.objects.write(f"feature_store_snapshot/{MONTH}.parquet", bytes(sink.getvalue()))
    value = loaded(store, "feature_store_snapshot")
    assert isinstance(value, Snapshot)
    assert (value.rejected_by_reason, value.results) == (snapshot.rejected_by_reason, snapshot.results)
    store.objects.delete(f"feature_store_snapshot/{MONTH}.results.parquet")
    with pytest.raises(StaleInputError, match="its results are missing"):
        store.load(STORED["feature_store_snapshot"], MONTH)


# --- what cannot be read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:0], lambda data: b"{" + data])
@pytest.mark.parametrize("asset", ["player_game_summary", "feature_store_snapshot", "train_split", "xgboost_model"])
def test_a_damaged_value_is_named_with_its_month(
    store: MonthStore, trained: Trained, asset: str, damage: object
) -> None:
    """Guards against Arrow's or pydantic's own error, which names neither the month nor what to do."""
    values = {
        "player_game_summary": DigestedTable(summary_of(MONTH), "d"),
        "feature_store_snapshot": snapshot_of(MONTH),
        "train_split": trained.split,
        "xgboost_model": TrainedModel(trained.report, trained.fitted.booster),
    }
    store.save(STORED[asset], MONTH, values[asset])
    [name] = [n for n in store.objects.names(f"{asset}/") if n.count(".") == 1]  # not what lies beside a snapshot
    found = store.objects.read(name)
    assert found is not None
    assert callable(damage)
    store.objects.write(name, damage(found.data))
    with pytest.raises(
        StaleInputError, match=rf"{asset}/{MONTH}\.\w+ cannot be read .* Materialise {asset} for {MONTH}"
    ):
        store.load(STORED[asset], MONTH)


def test_a_table_without_its_digest_is_refused(store: MonthStore) -> None:
    """Guards against a file that another program put there: it has rows, and no digest that would name them."""
    sink = pa.BufferOutputStream()
    pq.write_table(summary_of(MONTH), sink)
    store.objects.write(f"player_game_summary/{MONTH}.parquet", bytes(sink.getvalue()))
    with pytest.raises(StaleInputError, match="another version of nba_ml wrote it"):
        store.load(STORED["player_game_summary"], MONTH)


@pytest.mark.parametrize(
    "change",
    [{"newest_month": 202112}, {"importance": {"team_pace": "much"}}, {"reference_rows": None}, {"unheard_of": 1}],
    ids=str,
)
def test_a_record_that_breaks_its_schema_is_refused_by_its_reader(
    store: MonthStore, trained: Trained, change: dict[str, object]
) -> None:
    """Guards the publisher: no check of the record looks at its fields, because nothing reads it without this."""
    described = STORED["model_metadata"]
    store.save(STORED["xgboost_model"], MONTH, TrainedModel(trained.report, trained.fitted.booster))
    store.save(described, MONTH, DescribedModel(trained.record, trained.fitted.booster))
    loaded = store.load(described, MONTH)
    assert isinstance(loaded, DescribedModel)
    assert loaded.record == trained.record
    content = {**json.loads(trained.record.to_bytes()), **change}
    store.objects.write(described.file(MONTH), json.dumps(content).encode())
    with pytest.raises(StaleInputError, match=rf"model_metadata/{MONTH}.json cannot be read"):
        store.load(described, MONTH)


@pytest.mark.parametrize("data", [None, b"{}"])
def test_a_missing_or_changed_booster_is_refused(store: MonthStore, trained: Trained, data: bytes | None) -> None:
    """Guards against a model whose report speaks of other bytes than those that would be published."""
    for asset, value in (
        ("xgboost_model", TrainedModel(trained.report, trained.fitted.booster)),
        ("model_metadata", DescribedModel(trained.record, trained.fitted.booster)),
    ):
        store.save(STORED["xgboost_model"], MONTH, TrainedModel(trained.report, trained.fitted.booster))
        store.save(STORED[asset], MONTH, value)
        [name] = store.objects.names("boosters/")
        store.objects.delete(name) if data is None else store.objects.write(name, data)
        with pytest.raises(
            StaleInputError, match=rf"{name} is missing or damaged.* Materialise xgboost_model for {MONTH}"
        ):
            store.load(STORED[asset], MONTH)


@pytest.mark.parametrize("data", [None, b"{}"])
def test_a_missing_or_changed_part_of_a_snapshot_is_refused(store: MonthStore, data: bytes | None) -> None:
    """Guards the checks of later months, which hold the averages against these results."""
    store.save(STORED["feature_store_snapshot"], MONTH, snapshot_with_rejects())
    parts = store.objects.names("parts/")
    assert len(parts) == 2
    for name in parts:
        store.objects.delete(name) if data is None else store.objects.write(name, data)
    for read in (lambda: store.load(STORED["feature_store_snapshot"], MONTH), lambda: results_of(store, MONTH)):
        with pytest.raises(
            StaleInputError, match=rf"missing or damaged.* Materialise feature_store_snapshot for {MONTH}"
        ):
            read()


def test_a_value_without_a_form_is_a_fault_of_the_program(store: MonthStore) -> None:
    """Guards against a new asset whose value is pickled, or dropped, because nobody said how it is written."""
    with pytest.raises(TypeError, match="predictions is a MonthPredictions and cannot be a dict"):
        store.save(STORED["predictions"], MONTH, {})
