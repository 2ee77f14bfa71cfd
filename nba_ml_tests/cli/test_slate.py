"""`nba-ml slate` at the terminal: words, files and exit codes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nba_ml.checks.registry import STORED
from nba_ml.cli.main import main
from nba_ml.data.table_digest import DigestedTable
from nba_ml.registry.production import kept_production
from nba_ml.registry.promotion import promote
from nba_ml.registry.rollout import rollout_start
from nba_ml.settings import Settings
from nba_ml.slates.prediction_rows import create_table
from nba_ml.slates.store import SlateStore, read_slate
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.cli.command import Home
from nba_ml_tests.cloud.bigquery import PROJECT, BigQueryEmulator, make_platform
from nba_ml_tests.conftest import features_of, snapshot_of
from nba_ml_tests.release_scene import bench_of, published_model
from nba_ml_tests.slate_scene import AFTERWARDS, BEFORE_THE_GAMES, DAY, slate, slate_rows_of
from nba_ml_tests.slates.test_upcoming import before

WHY = "for a test of the slates"


class Terminal:
    """The commands on a home with a champion of December and the features of January."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.objects = DirectoryStore(home / "artifacts")
        self.bench = bench_of(self.objects, DirectoryStore(home / "store"))
        self.champion = published_model(self.objects, "2021-12")
        promote(self.bench, AFTERWARDS, self.champion, WHY)
        self.bench.months.save(
            STORED["ml_feature_store_v2"], "2022-01", DigestedTable(features_of("2022-01"), "a digest")
        )
        self.environment = {"NBA_ML_HOME": str(home), "NBA_ML_THREADS": "1", **settings}

    def says(self, code: int, *arguments: str) -> str:
        ended = CliRunner().invoke(main, arguments, env=self.environment)
        assert ended.exit_code == code, ended.output
        return " ".join(ended.output.split())


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home")


@pytest.mark.slow
def test_predict_and_grade(terminal: Terminal, tmp_path: Path) -> None:
    """Guards the words, the file and the exit codes that a person, and a script, go by."""
    rollout_start(terminal.bench, "mock", AFTERWARDS, WHY, DAY, share=10)
    out, rows = tmp_path / "slate.parquet", slate_rows_of(DAY).num_rows
    predict = ("slate", "predict", "--date", str(DAY))
    said = terminal.says(0, *predict, "--out", str(out))
    assert f"{terminal.champion} serves" in said
    assert "mock serves" in said
    assert f"{rows} rows: {rows} served, 0 early season, 0 set aside; {rows} scored in shadow" in said
    assert "Replay: made" in said
    assert "Kept file://" in said
    assert read_slate(out.read_bytes(), "out").report.served == rows
    assert "Kept before file://" in terminal.says(0, *predict)
    facts = json.loads(terminal.says(0, *predict, "--json"))
    assert facts["report"]["served"] == rows
    assert (facts["is_new"], facts["version"], facts["made"], facts["bigquery"]) == (False, 1, "replayed", None)
    of_mock = [each for each in facts["predictions"] if each["side"] == "challenger"]
    assert len(facts["predictions"]) == 2 * rows
    assert of_mock[0]["game_date"] == str(DAY)
    assert of_mock[0]["points_low"] is None  # NaN is not JSON
    graded = terminal.says(0, "slate", "grade", "--month", "2022-01")
    assert "side role made n MAE" in graded
    assert "model: all served; hit rate: " in graded
    assert f"champion: {terminal.champion}; challenger: mock" in graded
    assert "1 dates with a slate, 1 of them replayed; 0 have no result yet" in graded
    lines = CliRunner().invoke(main, ("slate", "grade", "--month", "2022-01"), env=terminal.environment).output
    assert max(map(len, lines.splitlines())) <= 80
    as_json = json.loads(terminal.says(0, "slate", "grade", "--month", "2022-01", "--json"))
    assert {each["side"] for each in as_json["grades"]} == {"champion", "challenger"}


@pytest.mark.slow
def test_a_version_that_does_not_count_names_the_one_that_does(terminal: Terminal) -> None:
    """Guards against a reason that is not so: a replayed day has no version that stood when it was over."""
    predict = ("slate", "predict", "--date", str(DAY))
    assert "does not count" not in terminal.says(0, *predict)
    rollout_start(terminal.bench, "mock", AFTERWARDS, WHY, DAY, share=10)
    said = terminal.says(0, *predict)
    assert "It does not count: version 1, made 20" in said
    assert "is the first of those not made ahead" in said
    slates = SlateStore(terminal.bench.months.objects)
    slates.keep(slate(at=BEFORE_THE_GAMES))
    said = terminal.says(0, *predict)
    assert "It does not count: version 3, made 2022-01-15 16:00 UTC, stood when the games began" in said


@pytest.mark.slow
def test_a_file_that_cannot_be_written_leaves_what_was_there(terminal: Terminal, tmp_path: Path) -> None:
    """Guards against half a slate over a whole one, and against a traceback where the disk is full."""
    out = tmp_path / "slate.parquet"
    predict = ("slate", "predict", "--date", str(DAY), "--out", str(out))
    terminal.says(0, *predict)
    before = out.read_bytes()
    rollout_start(terminal.bench, "mock", AFTERWARDS, WHY, DAY, share=10)
    terminal.says(0, *predict[:-2])
    program = (
        "import resource; from nba_ml.cli.main import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2},) * 2); main({list(predict)})"
    )
    environment = {**os.environ, **terminal.environment}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert f"{out} could not be written: File too large. The slate is kept at" in " ".join(ended.stderr.split())
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "slate.parquet" in path.name] == [out.name]


@pytest.mark.slow
def test_what_was_set_aside_is_listed_with_its_reason(terminal: Terminal) -> None:
    """Guards against players who are missing from a slate without a word."""
    features = features_of("2022-01")
    rows = features.to_pylist()
    chosen = [i for i, row in enumerate(rows) if row["game_date"] == DAY][:12]
    for i in chosen:
        rows[i] = {**rows[i], "features": [-5.0, *rows[i]["features"][1:]]}
    broken = DigestedTable(features.from_pylist(rows, schema=features.schema), "another digest")
    terminal.bench.months.save(STORED["ml_feature_store_v2"], "2022-01", broken)
    said = terminal.says(0, "slate", "predict", "--date", str(DAY))
    assert "12 set aside" in said
    assert f"set aside: {rows[chosen[0]]['player_lookup']}" in said
    assert "points_avg_last_5 outside 0 to 100" in said
    assert "set aside in all, points_avg_last_5 outside 0 to 100: 12" in said


def test_a_slate_that_serves_nobody_is_no_success(terminal: Terminal) -> None:
    """Guards against a coordinator that goes on with an empty slate."""
    features = features_of("2022-01")
    early = [{**row, "early_season_flag": True} for row in features.to_pylist()]
    terminal.bench.months.save(
        STORED["ml_feature_store_v2"],
        "2022-01",
        DigestedTable(features.from_pylist(early, schema=features.schema), "early"),
    )
    assert "0 served" in terminal.says(1, "slate", "predict", "--date", str(DAY))


@pytest.mark.slow
def test_tonight_from_box_scores_and_named_games(tmp_path: Path) -> None:
    """Guards the evening of a user without BigQuery: no features of the date, no schedule, and a slate all the same."""
    home = Terminal(tmp_path / "home")
    home.bench.months.objects.delete("ml_feature_store_v2/2022-01.parquet")
    home.environment["NBA_ML_DATA"] = str(before(tmp_path / "data", DAY))
    predict = ("slate", "predict", "--date", str(DAY))
    said = home.says(2, *predict)
    assert f"name them: `nba-ml slate predict --date {DAY} --games BOS@NYK,LAL@DEN` (away@home)" in said
    said = home.says(0, *predict, "--games", "BKN@CHI,lal@den")
    assert f"Slate of {DAY}: 2 games named by --games, " in said
    assert "box scores up to 2022-01-14; players of their team's last ten games" in said
    assert f"{home.champion} serves" in said
    assert "0 served" not in said
    home.bench.months.save(STORED["ml_feature_store_v2"], "2022-01", DigestedTable(features_of("2022-01"), "a digest"))
    assert "Leave out --games" in home.says(2, *predict, "--games", "BKN@CHI")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("predict", "--date", "2022-02-03"), "There are no feature rows of 2022-02-03"),
        (("predict", "--date", "15.1.2022"), "'15.1.2022' is not a date"),
        (("predict", "--date", "2022-W02-6"), "'2022-W02-6' is 2022-01-15: give it as YYYY-MM-DD"),
        (("predict", "--date", "0001-01-01"), "No NBA game is played on 0001-01-01"),
        (("predict", "--date", "9999-12-31"), "No NBA game is played on 9999-12-31"),
        (("predict", "--date", "2022-01-15", "--out", "/dev/null/x"), "/dev/null/x could not be written: Not a dir"),
        (("predict", "--date", "2022-01-15", "--out", "/no/x"), "run the same command with another --out"),
        (
            ("predict", "--date", "2022-01-15", "--out", "a.csv"),
            "would be Parquet by another name: give a.parquet",
        ),
        (("predict",), "Missing option '--date'"),
        (("predict", "--date", "2022-01-15", "--to-bigquery"), "NBA_ML_SOURCE is 'embedded'"),
        (("grade", "--month", "2022-01"), "There are no slates of 2022-01 to grade"),
        (("grade", "--month", "2022-08"), "2022-08 is in the off-season"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_paragraph(terminal: Terminal, arguments: tuple[str, ...], said: str) -> None:
    """Guards against a traceback, and against exit code 0 or 1 for what could not run."""
    assert said in terminal.says(2, "slate", *arguments)


def test_an_unforeseen_error_names_the_whole_command(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the way to the traceback: `nba-ml --debug grade` is no command."""

    def broken() -> Settings:
        raise ZeroDivisionError("of a test")

    monkeypatch.setattr(Settings, "from_environment", broken)
    said = terminal.says(2, "slate", "grade", "--month", "2022-01")
    assert "ZeroDivisionError: of a test" in said
    assert "`nba-ml --debug slate grade` shows the traceback" in said


def test_a_refusal_of_the_operating_system_names_the_file(terminal: Terminal, tmp_path: Path) -> None:
    """Was `Unexpected error: OSError`, wherever a write is not explained by the module that makes it."""
    full = Path("/dev/full")

    def write() -> Settings:
        with full.open("wb", buffering=0) as file:
            file.write(b"x")
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "from_environment", write)
        said = terminal.says(2, "slate", "grade", "--month", "2022-01")
    assert "Error: Cannot read or write a file: the disk is full; free some space. Run the command again" in said
    (tmp_path / "file").write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "from_environment", (tmp_path / "file" / "x").read_bytes)
        said = terminal.says(2, "slate", "grade", "--month", "2022-01")
    assert f"Error: Cannot read or write {tmp_path / 'file' / 'x'}: a file is where a folder should be" in said


@pytest.mark.slow
def test_a_slate_of_the_store_needs_no_dagster(terminal: Terminal) -> None:
    """Guards against a command that takes four seconds for what it does in one: nothing of Dagster, nor of Google."""
    program = (
        "import sys; from click.testing import CliRunner; from nba_ml.cli.main import main; "
        f"ended = CliRunner().invoke(main, ['slate', 'predict', '--date', '{DAY}']); "
        "print(ended.exit_code, sorted({'dagster', 'google.cloud.bigquery'} & set(sys.modules)))"
    )
    environment = {**os.environ, **terminal.environment}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "0 []"


def test_with_bigquery_at_both_ends(bigquery_emulator: BigQueryEmulator, tmp_path: Path) -> None:
    """Guards the platform's way: rows from its feature store, predictions into its table, by the installed command."""
    platform = make_platform(bigquery_emulator)
    platform.load(features_of("2022-01"))
    table = f"{platform.dataset}.predictions_{secrets.token_hex(3)}"
    settings = {**platform.environment, "NBA_ML_PREDICTION_TABLE": table}
    terminal = Terminal(tmp_path / "home", **settings)
    predict = ("slate", "predict", "--date", str(DAY), "--to-bigquery")
    assert "CREATE TABLE" in terminal.says(2, *predict)
    bigquery_emulator.client.query_and_wait(create_table(f"`{PROJECT}.{table}`"))
    rows = slate_rows_of(DAY).num_rows
    columns = json.loads(terminal.says(0, "slate", "table", "--json"))
    assert columns["table"] == f"{PROJECT}.{table}"
    assert {each["written"] for each in columns["columns"]} == {"filled"}
    assert columns["statement"] is None
    assert f"{table}: {rows} rows loaded" in terminal.says(0, *predict)
    ended = Home(tmp_path / "home", settings=settings).run(*predict)
    assert ended.returncode == 0, ended.stderr
    assert f"{table}: {rows} rows there already" in " ".join(ended.stdout.split())
    found = bigquery_emulator.connection().rows(
        f"SELECT COUNT(*) AS n, COUNTIF(is_active) AS active FROM {table} WHERE game_date = @day", {"day": DAY}, "test"
    )
    assert found.to_pylist() == [{"n": rows, "active": rows}]
    assert terminal.champion in ended.stdout
    rollout_start(terminal.bench, "mock", AFTERWARDS, WHY, DAY, share=10)
    said = terminal.says(0, *predict)  # replayed like the first, so the first goes on to count
    assert f"{table}: {rows} rows there already of version 1, which counts and is the active one" in said
    assert f"{table}: {2 * rows} rows loaded, none of them active" in said
    the_platforms_systems_beside_ours(bigquery_emulator, terminal, table, rows)


def the_platforms_systems_beside_ours(emulator: BigQueryEmulator, terminal: Terminal, table: str, rows: int) -> None:
    """A system that said a point more than ours, from the same table, graded by the command and kept."""
    emulator.client.query_and_wait(
        f"INSERT INTO {table} SELECT * REPLACE ('catboost_v8' AS system_id, predicted_points + 1 AS predicted_points, "
        f"CAST(NULL AS BOOL) AS prediction_made_before_game, TIMESTAMP '{BEFORE_THE_GAMES}' AS created_at) "
        f"FROM {table} WHERE game_date = '{DAY}' AND is_active"
    )
    terminal.bench.months.save(STORED["feature_store_snapshot"], "2022-01", snapshot_of("2022-01"))
    report = json.loads(terminal.says(0, "grades", "--systems", "xgboost_v1,catboost_v8,nobody", "--json"))
    (theirs,) = (grade for grade in report["grades"] if grade["system_id"] == "catboost_v8")
    (ours,) = (grade for grade in report["grades"] if grade["system_id"] == "xgboost_v1")
    assert (theirs["made"], ours["made"]) == ("ahead", "replayed")
    assert theirs["predicted"] == ours["predicted"] == rows
    assert theirs["metrics"]["bias"] == pytest.approx(ours["metrics"]["bias"] + 1, abs=1e-5)
    said = terminal.says(0, "grades", "--systems", "catboost_v8,nobody", "--from", "2022-01", "--to", "2022-01")
    assert "No active row that counts: nobody." in said
    assert kept_production(terminal.bench.months.objects, "catboost_v8", "2022-01").num_rows == rows
    assert kept_production(terminal.bench.months.objects, "xgboost_v1", "2022-01").num_rows == 0, "replayed"
    assert "NBA_ML_PLATFORM_SYSTEMS" in terminal.says(2, "grades", "--from", "2022-01")
    said = terminal.says(0, "rollout", "status", "--beat", "catboost_v8")
    assert "2,659 rows of 17 dates. Against catboost_v8: a comparison needs 1,000 rows on 5 dates" in said
    assert "production_catboost_v8" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "NBA_ML_SOURCE is 'embedded', so there is no table of the platform's predictions. Set it to 'bigquery'"),
        (("--systems", "a;b"), "--systems is 'a;b'. Give the system_ids"),
        (("--systems", "a"), "No month has a snapshot yet"),
        (("--systems", "a", "--from", "2025-02", "--to", "2025-01"), "--from 2025-02 is after --to 2025-01"),
        (("--systems", "a", "--from", "2025-01"), "2025-01 has no snapshot with results yet"),
        (("--systems", "a", "--from", "2025-13"), "2025-13"),
    ],
    ids=["embedded", "ids", "no snapshot", "order", "month without snapshot", "no month"],
)
def test_grades_that_cannot_be_made_say_why(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Guards against a traceback, or a query, where the answer is known before."""
    ended = CliRunner().invoke(main, ["grades", *arguments], env={"NBA_ML_HOME": str(tmp_path)})
    assert ended.exit_code == 2, ended.output
    assert said in " ".join(ended.output.split())
