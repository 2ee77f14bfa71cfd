"""Registered models that nobody checked, at every way to serve: through the terminal and through Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from nba_ml.checks.registry import STORED
from nba_ml.cli.main import main
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.fitting import Samples
from nba_ml.registry.channel import Channel, next_state, read_channel
from nba_ml.registry.learners.missing import NAN, PLATFORM_2026_01
from nba_ml.registry.moves import move_channel
from nba_ml.registry.systems.interface import TrainingExtent, columns_of, matrix_of
from nba_ml.registry.systems.loading import find_model
from nba_ml.registry.systems.registered import register_file, require_registered
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.defs.test_chain import Home, opened
from nba_ml_tests.limits import written
from nba_ml_tests.registry.model_files import model_file
from nba_ml_tests.registry.test_systems import fitted_cbm
from nba_ml_tests.release_scene import AT, LIMITS, MONTHS, SLOW_LEARNER, published_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("catboost") is None or find_spec("lightgbm") is None,
        reason="needs CatBoost and LightGBM: pip install 'nba_ml[challengers]'",
    ),
]

WHY = ("--reason", "a reason of a sentence")
PATIENT = LIMITS.model_copy(update={"rollout_margin": 0.5})
"""For rollouts of models that are not the subject: a week of games cannot tell them apart by less."""


NOT_POINTS = {"minutes": "stored_bias: bias +", "constant": "spread: ", "3 high": "stored_bias: bias +"}
"""What is refused at registration, with the condition that it does not meet."""


@cache
def model_of(kind: str, suffix: str) -> bytes:
    """A model of November and December, but for the one that was fitted on January: what it predicts is `kind`.

    The CatBoosts are fitted on missing values as we have them, the others on imputed ones.
    """
    if suffix != "cbm":
        return model_file(suffix, kind)
    months = ("2022-01",) if kind == "january" else ("2021-11", "2021-12")
    rows = pa.concat_tables([snapshot_of(month).table for month in months])
    points = rows.column("points").to_numpy().astype(np.float64)
    target = {"minutes": rows.column("minutes_played").to_numpy(), "3 high": points + 3}.get(kind, points)
    options = {
        "constant": {"iterations": 1, "learning_rate": 1e-4},
        "january": {"iterations": 150, "depth": 8, "learning_rate": 0.3},
    }
    vectors = matrix_of(columns_of(rows, V2_33FEATURES), V2_33FEATURES)
    samples = Samples(vectors, target, rows.column("game_date").to_numpy(), rows)
    return fitted_cbm(samples, list(V2_33FEATURES.names), **options.get(kind, {"depth": 4}))


class ExternalHome:
    """A home with four months and our model of November, its terminal and its graph."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder = home, folder
        for month in MONTHS:
            home.months.save(STORED["feature_store_snapshot"], month, snapshot_of(month))
        self.ours = published_model(home.artifacts, "2021-11")
        self.environment = {
            "NBA_ML_STORE": str(home.months.objects.root),  # type: ignore[attr-defined]
            "NBA_ML_ARTIFACT_ROOT": str(home.artifacts.root),
            "NBA_ML_HOME": str(folder),
            "NBA_ML_SYSTEMS": "xgboost_v1",
            "NBA_ML_THREADS": "1",
            "NBA_ML_THRESHOLDS": str(written(home.settings.thresholds)),
        }

    def says(self, code: int, *arguments: str) -> str:
        ended = CliRunner().invoke(main, arguments, env=self.environment, catch_exceptions=False)
        assert ended.exit_code == code, ended.output
        return " ".join(ended.output.split())

    def registered(self, kind: str, given: str = "2021-12-31", suffix: str = "cbm") -> str:
        """Registered by the command, or what that refuses, as an earlier version registered it."""
        file, data = self.folder / f"model.{suffix}", model_of(kind, suffix)
        file.write_bytes(data)
        missing = NAN if suffix == "cbm" else PLATFORM_2026_01
        policy = () if suffix == "cbm" else ("--missing", missing.name)
        command = ("rollout", "register", str(file), "--target", "points", "--given-until", given, *policy)
        if kind in NOT_POINTS:
            refused = self.says(2, *command)
            assert "The model does not predict points, by the stored rows: Not met: " in refused
            assert NOT_POINTS[kind] in refused
            rows, extent = snapshot_of("2021-12").table.slice(0, 5), TrainingExtent(*[date.fromisoformat(given)] * 2)
            vectors = matrix_of(columns_of(rows, V2_33FEATURES), V2_33FEATURES).tolist()
            keys = zip(rows["player_lookup"].to_pylist(), rows["game_date"].to_pylist(), vectors, strict=True)
            return register_file(self.home.artifacts, data, extent, list(keys), missing=missing).model.model_id
        said = self.says(0, *command)
        assert "That date cannot be checked" in said
        return said.split("Registered as ")[1].split(". ")[0]

    @property
    def state(self) -> Channel | None:
        return read_channel(self.home.artifacts)

    @property
    def served(self) -> tuple[str, str | None, int]:
        state = self.state
        assert state is not None
        challenger = None if state.challenger is None else state.challenger.model_id
        return state.champion.model_id, challenger, state.share

    def serves_unproven(self, external: str, share: int) -> None:
        """The state that an earlier version of this package left: a share, or everything, without evidence."""
        model = find_model(self.home.artifacts, external)

        def decide(present: Channel | None) -> Channel:
            if present is None:
                return Channel(serial=1, champion=model, kind="promote", reason="it is the first", moved_at=AT)
            return next_state(
                present, kind="rollout_start", reason="as before", at=AT, challenger=model, share=share,
                graded_from=date(2022, 1, 1),
            )  # fmt: skip

        move_channel(self.home.artifacts, decide)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ExternalHome]:
    with opened(tmp_path / "home", limits=PATIENT) as home:
        yield ExternalHome(home, tmp_path)


@pytest.mark.parametrize(
    ("kind", "suffix", "given", "named"),
    [
        ("minutes", "cbm", "2021-12-31", "stored_bias: bias +"),
        ("minutes", "json", "2021-12-31", "stored_bias: bias +"),
        ("minutes", "txt", "2021-12-31", "stored_bias: bias +"),
        ("constant", "cbm", "2021-12-31", "spread: standard deviation of the predictions 0.0"),
        ("good", "cbm", "2022-01-20", "unseen_rows: 1,"),
        ("january", "cbm", "2021-12-31", "no_leak: MAE 2."),
    ],
)
def test_what_nobody_checked_serves_nobody_by_any_way(
    scene: ExternalHome, kind: str, suffix: str, given: str, named: str
) -> None:
    """Guards the slate: each way to serve, in a fresh channel and beside a champion, and shadow stays open."""
    external = scene.registered(kind, given, suffix)
    refused = scene.says(1, "champion", "promote", external)
    assert f"{external} does not become the champion. Not met: " in refused
    assert named in refused
    for condition in ("unseen_rows", "season_average", "stored_bias", "no_leak", "spread", "correlation"):
        assert f"{condition}: " in refused
    assert scene.state is None
    waive = ("--waive", "grade", "--waive", "bias", *WHY)
    assert named in scene.says(1, "champion", "promote", external, *waive)

    scene.says(0, "champion", "promote")
    assert named in scene.says(1, "champion", "promote", external, *waive)
    refused = scene.says(2, "rollout", "start", external, *WHY, "--share", "10")
    assert named in refused
    assert f"{external} may not serve 10% of the player-games" in refused
    assert scene.served == (scene.ours, None, 0)

    since = ("--graded-from", "2022-01-01")
    assert "at 0%, in shadow" in scene.says(0, "rollout", "start", external, *WHY, *since)
    assert named in scene.says(0, "rollout", "status")
    said = scene.says(1, "rollout", "advance")
    assert scene.served == (scene.ours, external, 0)
    assert named in said or "worse than the champion" in said
    found = scene.home.facts("rollout")
    assert (found["champion"], found["challenger"], found["challenger_share"]) == (scene.ours, external, 0)
    assert scene.home.facts("champion")["champion"] == scene.ours

    if given < "2022-01-01":
        compared = scene.says(0, "rollout", "compare", scene.ours, external, "--month", "2022-01")
        assert f"{external} may not serve, by all stored rows" in compared
        assert f"NOT MET {named}" in compared
        told = json.loads(scene.says(0, "rollout", "compare", scene.ours, external, "--month", "2022-01", "--json"))
        assert [each["model_version"] for each in told["systems"]] == [scene.ours, external]
        assert [each["model"] for each in told["backtests"]] == [external]


@pytest.mark.parametrize(("kind", "way"), [("minutes", "dagster"), ("3 high", "terminal")])
def test_a_share_that_an_earlier_version_gave_is_taken_back(scene: ExternalHome, kind: str, way: str) -> None:
    """Guards rollouts that began before there was a rule: their next step is back to 0, not forward."""
    external = scene.registered(kind)
    scene.says(0, "champion", "promote")
    scene.serves_unproven(external, 50)
    if way == "terminal":
        assert "stop: " in scene.says(1, "rollout", "advance", "--until", "2022-01-03")
    else:
        assert scene.home.facts("rollout")["action"] == "stop"
    assert scene.served == (scene.ours, external, 0)
    assert scene.state is not None
    assert scene.state.set_aside == (external,)


def test_a_model_of_points_becomes_the_first_champion_on_its_evidence(scene: ExternalHome) -> None:
    """Guards the record: what it was held to is in the state, in the form that workers of today read."""
    external = scene.registered("good")
    compared = scene.says(0, "rollout", "compare", "moving_average", external, "--month", "2022-01")
    assert f"{external} may serve, by all stored rows" in compared
    said = scene.says(0, "champion", "promote", external)
    assert "there is no champion yet; 4,878 stored player-games on 31 dates after 2021-12-31" in said
    state = scene.state
    assert state is not None
    assert state.champion.model_id == external
    assert state.evidence is not None
    assert (state.evidence.champion, state.evidence.candidate) == ("season_average", external)
    assert state.evidence.rows == 4878
    assert "correlation with the results 0.7" in state.reason
    assert Channel.from_bytes(state.to_bytes(), "here") == state
    stored = json.loads(state.to_bytes())
    assert stored.keys() - {"channel_sha256"} == {
        "format_version", "serial", "champion", "challenger", "share", "graded_from", "earlier", "set_aside", "kind",
        "reason", "evidence", "waived", "moved_at",
    }  # fmt: skip
    assert set(stored["evidence"]) == {
        "champion", "candidate", "unseen", "first", "last", "rows", "days", "champion_mae", "candidate_mae", "gain",
        "low", "high", "champion_bias", "bias", "margin",
    }  # fmt: skip


def test_a_model_of_points_replaces_a_champion_of_ours_on_both_comparisons(scene: ExternalHome) -> None:
    """Guards the second promotion: the stored rows first, and then the champion."""
    external = scene.registered("good")
    scene.says(0, "champion", "promote")
    said = scene.says(0, "champion", "promote", external)
    assert "the season average's" in said
    state = scene.state
    assert state is not None
    assert state.evidence is not None
    assert (state.champion.model_id, state.evidence.champion) == (external, scene.ours)
    assert "season average's" in state.reason


@pytest.mark.parametrize("way", ["terminal", "dagster"])
def test_a_rollout_begins_in_shadow_and_takes_its_steps(scene: ExternalHome, way: str) -> None:
    """Guards the whole path from 0: nobody is served before the shadow's grades, and the evidence is in each state."""
    external = scene.registered("good")
    scene.says(0, "champion", "promote")
    since = ("--graded-from", "2022-01-01")
    scene.says(0, "rollout", "start", external, *WHY, *since)
    assert scene.served == (scene.ours, external, 0)
    if way == "dagster":
        found = scene.home.facts("rollout")
        assert (found["action"], found["challenger_share"]) == ("advance", 10)
        assert "| unseen_rows" in str(found["backtest"])
        return
    for until, share in (("08", 10), ("16", 50), ("24", 100)):
        assert "advance: " in scene.says(0, "rollout", "advance", "--until", f"2022-01-{until}")
        assert scene.served == (scene.ours, external, share)
        assert scene.state is not None
        assert "On stored rows: Met: unseen_rows" in scene.state.reason
    scene.says(0, "rollout", "advance", "--until", "2022-01-31")
    assert scene.served == (external, None, 0)


def test_ten_percent_at_once_records_the_backtest(scene: ExternalHome) -> None:
    """Guards the short way: a backtest on stored rows in the place of a shadow's grades, also out of a shadow."""
    external = scene.registered("good")
    scene.says(0, "champion", "promote")
    start = ("rollout", "start", external, *WHY)
    scene.says(0, *start)
    assert "is being rolled out at 0%" in scene.says(2, *start)
    assert "is being rolled out at 0%" in scene.says(2, "rollout", "start", "mock", *WHY)
    refused = scene.says(2, *start, "--share", "10")
    assert "may not begin at 10%: nothing shows how it compares with the champion" in refused
    scene.says(0, "rollout", "compare", scene.ours, external, "--month", "2022-01")
    assert "at 10%" in scene.says(0, *start, "--share", "10")
    state = scene.state
    assert state is not None
    assert state.evidence is not None
    assert (state.evidence.champion, state.share) == ("season_average", 10)
    assert state.reason.startswith("a reason of a sentence. Met: unseen_rows: ")
    assert "Compared with the champion: MAE 4." in state.reason

    (scene.home.months.objects.root / "feature_store_snapshot/2022-01.parquet").unlink()  # type: ignore[attr-defined]
    assert "wait: the backtest on stored rows is not passed" in scene.says(1, "rollout", "advance")
    assert scene.served == (scene.ours, external, 10)


def test_a_rollback_goes_where_it_went(scene: ExternalHome) -> None:
    """Guards an incident: the way back asks for no rows, also to a model that was promoted before there was a rule."""
    external = scene.registered("minutes", "2021-11-02")
    scene.serves_unproven(external, 100)
    scene.says(0, "champion", "promote", *("--waive", "grade", "--waive", "bias"), *WHY)
    assert scene.served[0] == scene.ours
    scene.says(0, "champion", "rollback", *WHY)
    assert scene.served[0] == external


def test_a_shadow_outlives_a_promotion_and_ends_when_it_is_stopped(scene: ExternalHome) -> None:
    """Guards a shadow of a week against the promotion of the month, and against a rollout that cannot be ended."""
    external = scene.registered("good", "2021-11-30")
    scene.says(0, "champion", "promote")
    scene.says(0, "rollout", "start", external, *WHY)
    newer = published_model(scene.home.artifacts, "2021-12")
    assert scene.home.facts("champion")["champion"] == newer
    assert scene.served == (newer, external, 0)
    scene.says(0, "rollout", "stop", *WHY)
    assert scene.state is not None
    assert scene.state.set_aside == (external,)
    assert "No rollout is in progress" in scene.says(2, "rollout", "advance")


def test_one_condition_may_be_waived_with_a_reason_and_stays_waived(scene: ExternalHome) -> None:
    """Guards both sides: a person decides on one thing, by name, and no two waivers add up to a model unproven."""
    scene.says(0, "champion", "promote")
    file = scene.folder / "model.cbm"
    file.write_bytes(model_of("3 high", "cbm"))
    register = ("rollout", "register", str(file), "--target", "points", "--given-until", "2021-12-31")
    assert "is shorter than 10 characters" in scene.says(2, *register, "--waive", "stored_bias")
    both = ("--waive", "stored_bias", "--waive", "spread")
    assert "one of stored_bias, spread, correlation can" in scene.says(2, *register, *both, *WHY)
    external = scene.says(0, *register, "--waive", "stored_bias", *WHY).split("Registered as ")[1].split(". ")[0]
    manifest = require_registered(scene.home.artifacts, external).manifest
    assert (manifest.target, manifest.waived, manifest.reason) == ("points", ("stored_bias",), WHY[1])

    promote = ("champion", "promote", external, *WHY, "--waive", "grade", "--waive", "bias")
    assert "a person may waive one" in scene.says(2, *promote, *both, "--waive", "season_average")
    refused = scene.says(1, *promote, "--waive", "stored_bias")  # it is also worse than the season average
    assert "Not met: season_average" in refused
    assert "Waived: stored_bias" in refused
    start = ("rollout", "start", external, *WHY, "--share", "10")
    assert "Not met: season_average" in scene.says(2, *start, "--waive", "comparison")
    assert "cannot be waived: at the start of a rollout" in scene.says(2, *start, *both)
    assert scene.served == (scene.ours, None, 0)


def test_a_model_of_ours_begins_at_ten_percent_on_a_kept_comparison_only(scene: ExternalHome) -> None:
    """Guards the tenth: a verdict says that a model is sound, not that it is as good as the champion."""
    scene.says(0, "champion", "promote")
    good = published_model(scene.home.artifacts, "2021-12")
    bad = published_model(scene.home.artifacts, "2021-12", SLOW_LEARNER)
    scene.says(0, "rollout", "compare", scene.ours, good, bad, "--month", "2022-01")
    refused = scene.says(2, "rollout", "start", bad, *WHY, "--share", "10")
    assert f"compared with {scene.ours} on 2022-01-01 to 2022-01-31, worse than the champion" in refused
    assert scene.served == (scene.ours, None, 0)
    scene.says(0, "rollout", "start", good, *WHY, "--share", "10")
    state = scene.state
    assert state is not None
    assert (state.share, state.evidence and state.evidence.champion, state.waived) == (10, scene.ours, ())
    scene.says(0, "rollout", "stop", "--forget", *WHY)
    scene.says(0, "rollout", "start", bad, *WHY, "--share", "10", "--waive", "comparison")
    state = scene.state
    assert state is not None
    assert (state.share, state.waived) == (10, ("comparison",))
