"""Slates from rows to grades: what the operations refuse, and that they say what serving says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.errors import BundleError, ChannelError, ReleaseError, SettingsError, SlateError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.data.table_digest import DigestedTable
from nba_ml.data.tables import PLATFORM_PREDICTIONS
from nba_ml.registry.channel import CHAMPION, read_channel
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.production import kept_production
from nba_ml.registry.promotion import promote
from nba_ml.registry.rollout import rollout_start
from nba_ml.serving import Predictor
from nba_ml.slates.operations import NoPredictionTable, SlateContext, grade_month_of_slates, predict_slate
from nba_ml.slates.platform import NoPlatformPredictions, grade_platform_months
from nba_ml.slates.rows import StoredSlateRows
from nba_ml.slates.store import LATEST_STATE, SlateStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.conftest import features_of
from nba_ml_tests.registry.signing import KeyRing
from nba_ml_tests.release_scene import bench_of, published_model
from nba_ml_tests.slate_scene import AFTERWARDS, BEFORE_THE_GAMES, DAY

WHY = "for a test of the slates"


class Scene:
    """Two published models, the features of a month in the store, and no channel yet."""

    def __init__(self, folder: Path, objects: ObjectStore | None = None) -> None:
        self.objects = objects or DirectoryStore(folder / "artifacts")
        self.bench = bench_of(self.objects, DirectoryStore(folder / "store"))
        self.ids = [published_model(self.objects, month) for month in ("2021-11", "2021-12")]
        self.months = self.bench.months
        self.months.save(STORED["ml_feature_store_v2"], "2022-01", DigestedTable(features_of("2022-01"), "a digest"))
        self.slates = SlateStore(self.months.objects)
        self.desk = SlateContext(self.objects, StoredSlateRows(str(folder / "store")), self.slates, threads=1)

    def promote(self, model_id: str) -> None:
        assert promote(self.bench, BEFORE_THE_GAMES, model_id, WHY, ("grade",)).moved


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_slate_says_what_the_service_says(scene: Scene) -> None:
    """Guards against a slate and a worker of two opinions: the same champion, the same rollout, the same bits."""
    older, newer = scene.ids
    scene.promote(older)
    rollout_start(scene.bench, newer, BEFORE_THE_GAMES, WHY, DAY, share=10, waived=("comparison",))
    served = predict_slate(scene.desk, DAY, BEFORE_THE_GAMES).kept.slate.served
    rows = scene.bench.snapshots("2022-01", V2_33FEATURES)["2022-01"]
    wanted = [*V2_33FEATURES.names, "player_lookup", "game_date", "game_id"]
    mine = [row for row in rows.select(wanted).to_pylist() if row["game_date"] == DAY]
    records = Predictor.load(scene.objects, channel="champion", try_apart=False).predict(mine)
    kept = {row["player_lookup"]: row for row in served.to_pylist()}
    assert len({record.model_version for record in records}) == 2
    for record in records:
        said = record.to_json()
        said |= dict(zip(QUANTILE_COLUMNS, said.pop("points_quantiles"), strict=True))
        for name, value in said.items():
            stored = kept[record.player_lookup or ""][name]
            assert (None if stored != stored else str(stored)) == (None if value is None else str(value)), name


def test_a_slate_is_the_same_until_something_changes(scene: Scene) -> None:
    """Guards against versions without a reason, and against a change that makes none."""
    older, newer = scene.ids
    scene.promote(older)
    first = predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    again = predict_slate(scene.desk, DAY, AFTERWARDS)
    assert (first.kept.new, again.kept.new, again.kept.number, again.is_current) == (True, False, 1, True)
    scene.promote(newer)
    late = predict_slate(scene.desk, DAY, AFTERWARDS)
    assert (late.kept.new, late.kept.number, late.is_current) == (True, 2, False)


def test_a_slate_is_not_scored_with_an_older_state_of_the_channel(tmp_path: Path) -> None:
    """Guards each new process, which remembers nothing, against an old signed copy of the pointer that was put back."""
    bucket = DirectoryStore(tmp_path / "artifacts")
    scene = Scene(tmp_path, KeyRing.made_in(tmp_path).held_by(bucket, "publisher", "promoter"))
    older, newer = scene.ids
    scene.promote(older)
    before = bucket.read(CHAMPION)
    scene.promote(newer)
    assert before is not None
    present = bucket.read(CHAMPION)
    assert present is not None
    assert predict_slate(scene.desk, DAY, BEFORE_THE_GAMES).kept.slate.report.channel_serial == 2
    bucket.write(CHAMPION, before.data)
    with pytest.raises(ChannelError, match=r"at serial 1 .* scored at serial 2 .*latest_state\.json.* remove that obj"):
        predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    # Two slates at once: the one that read the older state does not set the memory back.
    state = read_channel(scene.objects)
    assert state is not None
    scene.slates.keep_state(state)
    with pytest.raises(ChannelError, match="scored at serial 2"):
        predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    bucket.write(CHAMPION, present.data)
    assert not predict_slate(scene.desk, DAY, BEFORE_THE_GAMES).kept.new
    scene.slates.objects.write(LATEST_STATE, b"{")
    with pytest.raises(ChannelError, match=r"latest_state\.json"):
        predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)


def test_a_grade_is_of_what_was_served_and_not_of_what_serves_now(scene: Scene) -> None:
    """Guards against hindsight: a better model that came later does not earn the earlier one's grade."""
    older, newer = scene.ids
    scene.promote(older)
    predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    before = grade_month_of_slates(scene.months, scene.slates, "2022-01")
    scene.promote(newer)
    predict_slate(scene.desk, DAY, AFTERWARDS)
    after = grade_month_of_slates(scene.months, scene.slates, "2022-01")
    assert [grade.model_version for grade in after.report.grades] == [older]
    assert after.digest == before.digest
    assert after.report.replayed_dates == 0


def test_nobody_serves_before_the_first_champion(scene: Scene) -> None:
    """Guards against a slate of whichever model lies there."""
    with pytest.raises(SlateError, match=r"There is no champion yet.*nba-ml champion promote"):
        predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    assert scene.slates.days("2022-01") == []


def test_a_date_without_rows_is_an_error_with_advice(scene: Scene) -> None:
    """Guards against a green run over nothing."""
    scene.promote(scene.ids[0])
    with pytest.raises(SlateError, match=r"no feature rows of 2022-02-03.*the nearest earlier date is 2022-01-31"):
        predict_slate(scene.desk, date(2022, 2, 3), BEFORE_THE_GAMES)


def test_a_challenger_that_is_not_whole_stops_the_slate(scene: Scene) -> None:
    """Guards against a rollout that goes on without its challenger, and without a word."""
    older, newer = scene.ids
    scene.promote(older)
    rollout_start(scene.bench, newer, BEFORE_THE_GAMES, WHY, DAY, share=10, waived=("comparison",))
    scene.objects.write(BundleNames.of(newer).booster, b"{}")
    with pytest.raises(BundleError, match=r"expected [0-9]+ bytes; found 2\."):
        predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    assert scene.slates.days("2022-01") == []


def test_a_month_without_slates_or_results_says_what_to_do(scene: Scene) -> None:
    """Guards against an empty grade."""
    with pytest.raises(SlateError, match=r"no slates of 2022-01 to grade.*nba-ml slate predict"):
        grade_month_of_slates(scene.months, scene.slates, "2022-01")
    scene.promote(scene.ids[0])
    predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    scene.months.objects.delete("feature_store_snapshot/2022-01.parquet")
    with pytest.raises(SlateError, match="There are 1 slates of 2022-01, but the month has no snapshot"):
        grade_month_of_slates(scene.months, scene.slates, "2022-01")


def test_without_bigquery_there_is_no_table_and_the_slate_is_not_lost(scene: Scene) -> None:
    """Guards against an option that is ignored."""
    scene.promote(scene.ids[0])
    done = predict_slate(scene.desk, DAY, BEFORE_THE_GAMES)
    with pytest.raises(
        SettingsError, match=r"NBA_ML_SOURCE is 'embedded'.*The slate is stored: then run the same command"
    ):
        NoPredictionTable().write(done.kept, is_current=True)


class Platform:
    """Of a month, what its system predicted: our served slate, one point higher."""

    systems = ("catboost_v8",)

    def __init__(self, slate: pa.Table) -> None:
        rows = [
            {
                **{name: row[name] for name in ("player_lookup", "game_date", "game_id")},
                "system_id": "catboost_v8",
                "predicted_points": row["predicted_points"] + 1,
                "created_at": BEFORE_THE_GAMES,
            }
            for row in slate.to_pylist()
        ]
        self.rows = pa.Table.from_pylist(rows, schema=PLATFORM_PREDICTIONS)

    def read(self, month: str, systems: Sequence[str]) -> pa.Table:
        assert list(systems) == ["catboost_v8"]
        return self.rows if month == "2022-01" else self.rows.slice(0, 0)


def test_the_platforms_system_is_graded_beside_what_we_served_and_kept(scene: Scene) -> None:
    """Guards the pairs: our slate and theirs on the same player-games, by the results of the snapshot."""
    scene.promote(scene.ids[1])
    served = predict_slate(scene.desk, DAY, BEFORE_THE_GAMES).kept.slate.served
    platform = Platform(served)
    report = grade_platform_months(scene.months, scene.slates, platform, ["2022-01"], platform.systems).report
    [pair] = report.paired
    graded = grade_month_of_slates(scene.months, scene.slates, "2022-01")
    assert graded.report.served[0].metrics is not None
    assert (pair.ours, pair.rows) == ("slate_grades", graded.report.served[0].metrics.n)
    assert pair.our_mae == graded.report.served[0].metrics.mae
    assert pair.bias == pytest.approx(pair.our_bias + 1)
    assert report.without_ours == ("prediction_grades",)
    kept = kept_production(scene.months.objects, "catboost_v8", "2022-01")
    assert kept.num_rows == served.num_rows
    assert kept_production(scene.months.objects, "catboost_v8", "2022-02").num_rows == 0
    with pytest.raises(SlateError, match=r"2022-07 has no snapshot with results yet.*--assets feature_store_snapshot"):
        grade_platform_months(scene.months, scene.slates, platform, ["2022-07"], platform.systems)
    with pytest.raises(SettingsError, match="Set NBA_ML_PLATFORM_SYSTEMS"):
        grade_platform_months(scene.months, scene.slates, platform, ["2022-01"], ())
    with pytest.raises(SettingsError, match="NBA_ML_SOURCE is 'embedded'"):
        grade_platform_months(scene.months, scene.slates, NoPlatformPredictions(), ["2022-01"], ("x",))
    with pytest.raises(SettingsError, match="NBA_ML_SOURCE is 'embedded'"):
        _ = NoPlatformPredictions().systems
    with pytest.raises(ReleaseError, match="nba-ml grades --systems nobody"):
        kept_production(scene.months.objects, "nobody", "2022-01")
