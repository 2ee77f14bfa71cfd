"""Refusals, overrides, and `nba-ml check`: what CI sees of a month, on the shipped limits."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nba_ml.checks.registry import all_checks
from nba_ml.contract.errors import ChecksFailedError, MissingMonthsError
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.resources import open_store
from nba_ml.settings import Settings
from nba_ml.testing import check_month
from nba_ml_tests.cli.command import Home
from nba_ml_tests.trained_home import TrainedHomes, copy_home

pytestmark = pytest.mark.slow

REFUSED = "2021-12"
"""Two months of data: the averages are better, and the owner must see it."""


@pytest.fixture(scope="module")
def shipped(trained_homes: TrainedHomes, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home under the shipped limits with the chain of three months, of which none is good enough."""
    return copy_home(trained_homes.refused, tmp_path_factory.mktemp("shipped") / "home")


# -- refused -----------------------------------------------------------------------------------------


def test_a_refused_month_is_passed_over_and_said_in_plain_words(shipped: Home, trained_homes: TrainedHomes) -> None:
    """Guards against a backfill that ends at its second month, and against one that hides what it left out."""
    lines = trained_homes.said_refused.splitlines()
    assert "Refused and not published: 2021-11, 2021-12." in " ".join(lines)
    [line] = [line for line in lines if line.startswith(f"{REFUSED} refused. ")]
    assert "did not pass beats_season_average, " in line
    table = "\n".join(lines[lines.index(line) :])
    assert re.search(r"beats_season_average +│ -0\.\d{3} points .*1,776", table), table
    assert "  beats_season_average: /assets/xgboost_model?view=checks&checkDetail=beats_season_average" in lines
    assert shipped.files("artifacts") == {}
    assert (("predictions", REFUSED) in shipped.versions()) is True


def test_run_of_a_refused_month_fails_and_shows_the_comparison(shipped: Home) -> None:
    """Guards against exit code 0 where nothing was published, and against running it all again to say so."""
    before = shipped.runs()
    ended = shipped.run_here("run")
    assert ended.returncode == 1
    assert f"{REFUSED} refused. " in ended.stdout
    assert "Validation, 2021-12-" in ended.stdout
    assert "Published" not in ended.stdout
    assert shipped.runs() == before


def test_a_named_override_publishes_and_is_written_down(shipped: Home, tmp_path: Path) -> None:
    """Guards against an override on the command line that the manifest does not know of."""
    limits = Thresholds(min_gain=-10.0)  # so that one check is left
    shutil.copytree(shipped.root, tmp_path / "home")
    home = dataclasses.replace(shipped, root=tmp_path / "home", limits=limits)
    assert home.run_here("run").returncode == 1
    check, reason = "xgboost_model.results_above_prediction", "Two months of data; wanted for a rehearsal only."
    ended = home.run_here("run", "--override", check, "--reason", reason)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"override: {check} failed, reason: {reason}" in ended.stdout
    [manifest] = (home.root / "artifacts").rglob("*_manifest.json")
    verdict = json.loads(manifest.read_text())["verdict"]
    assert verdict["overrides"] == [{"check": check, "reason": reason}]
    assert verdict["thresholds"] == {"min_gain": -10.0}
    assert home.run_here("verify", str(manifest)).returncode == 0


@pytest.mark.parametrize("options", [["--override", "xgboost_model.bias"], ["--reason", "Because I say so."]])
def test_an_override_needs_both_its_options(shipped: Home, options: list[str]) -> None:
    """Guards against an override without a reason."""
    ended = shipped.run_here("run", *options)
    assert ended.returncode == 2
    assert "--override and --reason belong together" in ended.stderr


@pytest.mark.parametrize(
    ("check", "reason", "says"),
    [
        ("xgboost_model.validation_mea", "It is only a slip of the pen.", "Did you mean xgboost_model.validation_mae?"),
        ("validation_mae", "It is only a slip of the pen.", "There is no check 'validation_mae'."),
        ("*", "Everything, please, for the demo.", "There is no check '*'."),
        (
            "train_split.dates_disjoint_and_ordered",
            "One shared date will not matter.",
            "stops the run and cannot be overridden",
        ),
        ("xgboost_model.train_gap", "It fits the train rows too well.", "warns and does not block publication"),
        ("xgboost_model.validation_mae", "ok", "shorter than 10 characters"),
    ],
)
def test_an_override_that_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, check: str, reason: str, says: str
) -> None:
    """Guards a published month, and `health`, which a slip of the pen turned red by a run that had to fail."""
    home = Home(tmp_path / "home", tmp_path / "no data", limits=None)
    ended = home.run_here("run", "--override", check, "--reason", reason)
    assert ended.returncode == 2
    assert says in " ".join(ended.stderr.split())
    assert not home.root.exists()


# -- check: one test for each exit code ---------------------------------------------------------------


def test_exit_0_where_all_passed_and_warnings_are_allowed(built: Home, tmp_path: Path) -> None:
    """Guards against a CI that is red for a warning, and against reports that leave a check out."""
    junit, summary = tmp_path / "checks.xml", tmp_path / "summary.md"
    summary.write_text("# Before\n")
    before = built.files("store"), built.files("artifacts")
    ended = built.run("check", "--month", "2021-11", "--junit", str(junit), "--summary", str(summary), "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert [each["check"] for each in told["checks"]] == [check.key for check in all_checks(systems=[XGBOOST_V1])]
    assert {each["check"] for each in told["checks"] if each["status"] == "warned"} & {
        "xgboost_model.train_gap",
        "train_split.few_rows",
    }, "a warning is shown"
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    cases = {(case.get("classname"), case.get("name")) for case in suite.iter("testcase")}
    assert cases == {(check.asset, check.name) for check in all_checks(systems=[XGBOOST_V1])}
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    text = summary.read_text()
    assert text.startswith("# Before\n## ✅ 2021-11: ")
    assert "⚠️ **train_split.few_rows** (warns)" in text
    assert (built.files("store"), built.files("artifacts")) == before, "nothing is computed anew"


def test_exit_1_where_a_check_failed(shipped: Home, tmp_path: Path) -> None:
    """Guards against a red month that CI shows green; the summary says what a person must know."""
    junit, summary = tmp_path / "checks.xml", tmp_path / "summary.md"
    ended = shipped.run_here("check", "--junit", str(junit), "--summary", str(summary))
    assert ended.returncode == 1
    assert "xgboost_model.beats_season_average" in ended.stdout
    failed = {
        case.get("name") for case in ElementTree.parse(junit).iter("testcase") if case.find("failure") is not None
    }
    assert {"beats_season_average", "beats_last_10_average", "results_above_prediction"} == failed
    assert summary.read_text().startswith(f"## ❌ {REFUSED}: ")
    assert "- ❌ **xgboost_model.beats_season_average** (blocks publication): " in summary.read_text()


def test_exit_2_where_nothing_is_there_to_check(shipped: Home) -> None:
    """Guards against a month that passes because it has nothing to fail."""
    ended = shipped.run_here("check", "--month", "2022-01")
    assert ended.returncode == 2
    features = dataclasses.replace(shipped, root=shipped.root.parent / "features only")
    made = ("player_game_summary", "ml_feature_store_v2", "feature_store_snapshot")
    assert features.run_here("backfill", "--to", "2021-11", "--assets", ",".join(made)).returncode == 0
    ended = features.run_here("check", "--month", "2021-11")
    assert ended.returncode == 2
    assert "2021-11 has no model: only feature_store_snapshot is materialised" in " ".join(ended.stderr.split())
    empty = dataclasses.replace(shipped, root=shipped.root.parent / "another home")
    ended = empty.run_here("check", "--month", REFUSED)
    assert ended.returncode == 2
    assert f"{REFUSED} has no model: nothing that has checks is materialised. Run `nba-ml run" in ended.stderr


def test_exit_2_where_a_check_could_not_run(shipped: Home, tmp_path: Path) -> None:
    """Guards against a check that raises and passes by that; the checks beside it still speak."""
    copy = dataclasses.replace(shipped, root=tmp_path / "home")
    assert copy.run_here("backfill", "--to", "2021-11", "--assets", "player_game_summary").returncode == 0
    store = open_store(str(shipped.root / "store"))
    for name in store.objects.names(""):
        found = store.objects.read(name)
        assert found is not None
        target = copy.root / "store" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # The bytes of another booster under the right name: the record's check cannot even begin.
        broken = name == f"model_metadata/{REFUSED}.json"
        target.write_bytes(b"{}" if broken else found.data)
    ended = copy.run_here("check", "--month", REFUSED, "--junit", str(tmp_path / "checks.xml"))
    errors = [
        case.get("name")
        for case in ElementTree.parse(tmp_path / "checks.xml").iter("testcase")
        if case.find("error") is not None
    ]
    assert errors == [check.name for check in all_checks() if check.asset == "model_metadata"]
    assert "could not run" in ended.stdout
    assert ended.returncode == 1, "a check that failed beside it weighs more"


# -- the helper for a user's own tests ----------------------------------------------------------------


def test_a_users_own_test_can_assert_the_checks_of_a_month(shipped: Home, built: Home) -> None:
    """Guards the helper: it passes on a good month, and on a bad one raises with the reason."""
    good = Settings.from_environment({"NBA_ML_HOME": str(built.root), "NBA_ML_DATA": str(built.data)})
    lenient = dataclasses.replace(good, thresholds=built.limits or Thresholds())
    check_month("2021-11", lenient).require_passed()
    bad = Settings.from_environment({"NBA_ML_HOME": str(shipped.root), "NBA_ML_DATA": str(shipped.data)})
    with pytest.raises(ChecksFailedError, match="beats_season_average"):
        check_month(REFUSED, bad).require_passed()
    with pytest.raises(MissingMonthsError):
        check_month("2022-06", dataclasses.replace(good, home=built.root.parent / "h", store=str(built.root / "none")))
