"""What the command line says and leaves behind when something is wrong, and when nothing is."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from nba_ml.cli.main import main
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cli.command import Home
from nba_ml_tests.trained_home import copy_months

FAILED, COULD_NOT_RUN = 1, 2


def refused(home: Home, *arguments: str, code: int = COULD_NOT_RUN) -> str:
    """Run the command, expect it to be refused in words; returns what it said on standard error."""
    ended = home.run_here(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 4
    return ended.stderr


# -- months and assets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--month", "2022-07"], r"2022-07 is in the off-season.*2022-06 and 2022-10"),
        (["run", "--month", "2022-1"], r"'2022-1' is not a valid month. Use YYYY-MM"),
        (["backfill", "--from", "2021-13"], r"'2021-13' is not a valid month"),
        (["backfill", "--from", "2021-06"], r"2021-06 is before the first month.*2021-10 to 2022-01.*NBA_ML_DATA"),
        (["run", "--month", "2022-02"], r"2022-02 is after the last month.*2021-10 to 2022-01"),
        (["backfill", "--from", "2021-12", "--to", "2021-11"], r"--from 2021-12 is after --to 2021-11"),
        (
            ["backfill", "--assets", "train_split,boosters"],
            r"Unknown asset boosters. The monthly assets are: player_game_summary, ",
        ),
        (["backfill", "--assets", ""], r"Unknown asset . The monthly assets are"),
        (["backfill", "--system", "", "--assets", "train_split"], r"--system  is not one of NBA_ML_SYSTEMS"),
    ],
)
def test_a_wrong_month_or_asset_is_named(tmp_path: Path, four_months: Path, arguments: list[str], said: str) -> None:
    """Guards against a traceback, a silent empty backfill, or a run begun, where a month or an asset is wrong."""
    home = Home(tmp_path / "home", four_months)
    assert re.search(said, refused(home, *arguments))
    assert home.files("store") == home.files("artifacts") == {}


# -- settings and homes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("NBA_ML_THREADS", "many"),
        ("NBA_ML_THREADS", "0"),
        ("NBA_ML_THREADS", "-1"),
        ("NBA_ML_THREADS", "100000"),
        ("NBA_ML_SOURCE", "snowflake"),
        ("NBA_ML_ARTIFACT_ROOT", "s3://bucket/models"),
        ("NBA_ML_STORE", "s3://bucket/store"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, value: str) -> None:
    """Guards against a setting that is ignored, or a folder called 'gs:' in the working directory."""
    home = Home(tmp_path / "home", settings={setting: value})
    assert refused(home, "backfill").startswith(f"Error: {setting} is '{value}'. ")
    assert list(tmp_path.iterdir()) == []


def test_a_home_below_a_file_is_refused(tmp_path: Path) -> None:
    """Guards against the traceback of a home that is no folder (as root, no permission ever fails)."""
    (tmp_path / "file").write_text("mine")
    home = Home(tmp_path / "elsewhere", settings={"NBA_ML_HOME": str(tmp_path / "file" / "home")})
    said = refused(home, "run")
    assert " (Not a directory). Set NBA_ML_HOME" in said
    assert "NBA_ML_HOME" in said
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_in_proc_is_refused(tmp_path: Path) -> None:
    """Guards against a home on a file system that takes no files."""
    home = Home(tmp_path / "elsewhere", settings={"NBA_ML_HOME": "/proc/nba_ml"})
    assert "Cannot write to /proc/nba_ml" in refused(home, "backfill")


def test_an_artifact_root_that_is_no_folder_is_refused(tmp_path: Path, built: Home) -> None:
    """Guards against training for minutes before a wrong root of the published models is found."""
    (tmp_path / "file").write_text("mine")
    root = tmp_path / "file" / "models"
    before = built.files("store")
    said = refused(dataclasses.replace(built, settings={"NBA_ML_ARTIFACT_ROOT": str(root)}), "run")
    assert re.search(rf"{root}.*is not a directory and cannot be made one.*Choose another root", said)
    assert built.files("store") == before


@pytest.mark.slow
def test_a_damaged_instance_file_is_one_paragraph(tmp_path: Path, four_months: Path) -> None:
    """Guards against a page of Dagster's traceback where its own file in the home is damaged."""
    home = Home(tmp_path / "home", four_months)
    (home.root / "dagster").mkdir(parents=True)
    (home.root / "dagster" / "dagster.yaml").write_text("telemetry: [unfinished")
    said = refused(home, "backfill")
    assert said.startswith(f"Error: {home.root / 'dagster/dagster.yaml'} cannot be used: ")
    shown = home.run("--debug", "backfill")
    assert shown.returncode not in (0, COULD_NOT_RUN)
    assert "Traceback" in shown.stderr


@pytest.mark.slow
def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    """Guards against an option that promises a traceback and shows none."""
    ended = Home(tmp_path / "home").run("--debug", "run", "--month", "2022-07")
    assert ended.returncode != 0
    assert "Traceback" in ended.stderr
    assert "MonthError: 2022-07 is in the off-season" in ended.stderr


@pytest.mark.slow
def test_two_at_once(tmp_path: Path, four_months: Path) -> None:
    """Guards against two writers in one home, and against a refusal that does not say who is there."""
    home = Home(tmp_path / "home", four_months)
    code = (
        "from nba_ml.runner import session\n"
        "go_on = session.open_instance\n"
        "def wait(settings):\n"
        "    input('in the home\\n')\n"
        "    return go_on(settings)\n"
        "session.open_instance = wait\n"
        "from nba_ml.cli.main import main\n"
        "main(['backfill', '--to', '2021-10', '--assets', 'player_game_summary'])\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code],
        env=home.environment(),
        cwd=tmp_path,
        text=True,
        bufsize=1,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "in the home\n"
        said = refused(home, "backfill")
        out, err = first.communicate("go on\n", timeout=600)
    finally:
        first.kill()
    assert f"Another nba-ml (process {first.pid}) is using {home.root}. Wait for it to end" in said
    assert (first.returncode, err) == (0, "")
    assert "1 month(s) run" in out


# -- data --------------------------------------------------------------------------------------------


def test_a_data_folder_that_is_not_there(tmp_path: Path) -> None:
    """Guards against falling back to the shipped data where the user's own was meant."""
    home = Home(tmp_path / "home", tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere' / 'player_games'} does not exist. Set NBA_ML_DATA to" in refused(home, "run")
    assert home.files("store") == {}


def test_an_empty_data_folder(tmp_path: Path) -> None:
    """Guards against a backfill of no months that reports success."""
    home = Home(tmp_path / "home", copy_months(tmp_path / "data"))
    assert "has no YYYY-MM.parquet file" in refused(home, "backfill")
    assert home.files("store") == {}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--only-missing"]])
def test_a_month_missing_in_the_middle(tmp_path: Path, options: list[str]) -> None:
    """Guards against a hole in the training data: the month after it must not be computed without it."""
    home = Home(tmp_path / "home", copy_months(tmp_path / "data", "2021-10", "2021-12"))
    ended = home.run_here("backfill", "--assets", "player_game_summary", *options)
    assert ended.returncode in (FAILED, COULD_NOT_RUN)
    assert "Traceback" not in ended.stderr
    assert re.search(r"2021-11.*2021-11\.parquet does not exist.*Add the file", ended.stderr)
    assert list(home.files("store")) == ["player_game_summary/2021-10.parquet"]


def changed(column: str, value: object, row: int = 0) -> Callable[[pa.Table], pa.Table]:
    """Put a value into one row of a column."""

    def change(table: pa.Table) -> pa.Table:
        values = table.column(column).to_pylist()
        values[row] = value
        place = table.schema.get_field_index(column)
        return table.set_column(place, column, pa.array(values, table.schema.field(column).type))

    return change


def as_text(table: pa.Table) -> pa.Table:
    """Points as text, the way a CSV export has them."""
    place = table.schema.get_field_index("pts")
    return table.set_column(place, "pts", pc.cast(table.column("pts"), pa.string()))


BAD_FILES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "a column is missing": (lambda table: table.drop_columns(["fta"]), r"lacks the column fta"),
    "text for numbers": (as_text, r"the column pts is string and cannot be read as int16"),
    "a player twice on a date": (
        lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        r"2 of 4,399 rows are invalid: a duplicate \(date, player\) \(2\)",
    ),
    "negative minutes": (changed("min", -3), r"1 of 4,398 rows are invalid: a negative count \(1\).*min=-3"),
    "points that do not add up": (
        changed("pts", 99),
        r"1 of 4,398 rows are invalid: points that do not add up.*pts=99",
    ),
    "a missing value": (changed("pts", None), r"the column pts is null in 1 of 4,398 rows"),
    "no rows": (lambda table: table.slice(0, 0), r"has no rows"),
    "another month's rows": (
        lambda _: pq.read_table(SAMPLE_DATA / "player_games" / "2022-01.parquet"),
        r"4,913 of 4,913 rows are invalid: a date outside 2021-12",
    ),
}


@pytest.mark.parametrize("fault", [*BAD_FILES, "cut short"])
def test_a_bad_file_is_refused_whole(tmp_path: Path, built: Home, fault: str) -> None:
    """Guards against a wrong box score in every later average, and against a month written in part."""
    data = copy_months(tmp_path / "data", "2021-10", "2021-11", "2021-12")
    file = data / "player_games" / "2021-12.parquet"
    if fault == "cut short":
        file.write_bytes(file.read_bytes()[:-2000])
        said = r"is not a readable Parquet file"
    else:
        change, said = BAD_FILES[fault]
        pq.write_table(change(pq.read_table(file)), file)
    before = built.files("store"), built.files("artifacts")
    message = refused(
        dataclasses.replace(built, data=data),
        "backfill",
        "--only-missing",
        "--assets",
        "player_game_summary",
        code=FAILED,
    )
    assert message.startswith(f"2021-12 failed: player_game_summary: {file}")
    assert re.search(said, message)
    assert (built.files("store"), built.files("artifacts")) == before


# -- a model published -------------------------------------------------------------------------------


def manifest_uri(home: Home) -> str:
    """Where the last month's manifest lies."""
    (manifest,) = (home.root / "artifacts/xgboost_v1").glob("*_202201_*_manifest.json")
    return manifest.as_uri()


def test_run_shows_the_model_beside_its_baselines(built: Home) -> None:
    """Guards against a run that ends without a word on how good the model is and where it lies."""
    said = built.run_here("run").stdout
    assert "Validation, 2022-01-" in said
    for predictor in ("xgboost", "season_average", "last_10_average", "last_5_average", "mock"):
        assert re.search(rf"│ {predictor} +│ [\d,]+ +│ \d\.\d{{3}} │", said), predictor
    assert re.search(r"Published xgboost_v1_33features_202201_[0-9a-f]{12}\n", said)
    uris = re.findall(r"(booster|metadata|manifest) +(file://\S+)", said)
    assert [name for name, _ in uris] == ["booster", "metadata", "manifest"]
    assert all("/a%20home/artifacts/xgboost_v1/" in uri for _, uri in uris)


def test_running_again_runs_nothing(built: Home) -> None:
    """Guards against a second run that trains again what is there already."""
    before = built.runs()
    again = built.run_here("run")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("0 month(s) run, 4 already up to date.")
    assert manifest_uri(built) in again.stdout
    assert built.runs() == before


def test_verify_accepts_what_was_published(built: Home) -> None:
    """Guards against a URI of `run` that `verify` cannot read, as one with a space in it."""
    ended = built.run_here("verify", manifest_uri(built))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(
        r"xgboost_v1_33features_202201_[0-9a-f]{12}: verified\. .* 20 reference predictions .*\n"
        r"Published by nba_ml .* at (commit [0-9a-f]{40}|an unknown commit).*, from 3 months\.\n"
        r"Signatures are not checked: NBA_ML_TRUSTED_KEYS is not set\.\n",
        ended.stdout,
    )
    told = json.loads(built.run_here("verify", manifest_uri(built), "--json").stdout)
    assert (told["verified"], told["reference_rows"]) == (True, 20)
    assert told["model_id"] == ended.stdout.partition(":")[0]


def test_verify_refuses_a_flipped_bit(built: Home, tmp_path: Path) -> None:
    """Guards against a damaged booster that passes for the published one."""
    for name, data in built.files("artifacts/xgboost_v1").items():
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        (tmp_path / name).write_bytes(data if name.endswith(("_manifest.json", "_metadata.json")) else flipped)
    manifest = tmp_path / Path(manifest_uri(built)).name
    said = refused(built, "verify", str(manifest))
    assert re.search(r"Error: The bundle cannot be trusted\. \S+\.json: expected sha256 [0-9a-f]{64}; found", said)


def test_verify_of_a_folder_passes_over_a_file_that_is_gone(tmp_path: Path) -> None:
    """Guards against an unexpected error where a model is removed while its folder is searched."""
    (tmp_path / "a_manifest.json").symlink_to(tmp_path / "removed")
    home = Home(tmp_path / "home")
    assert "It contains none." in refused(home, "verify", str(tmp_path))
    (tmp_path / "b_manifest.json").write_text("{}")
    assert f"The newest in it is {tmp_path / 'b_manifest.json'}." in refused(home, "verify", str(tmp_path))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("/nowhere/model_0123456789ab_manifest.json", "/nowhere/model_0123456789ab_manifest.json does not exist."),
        ("file:///nowhere/model_manifest.json", "/nowhere/model_manifest.json does not exist."),
        ("s3://bucket/model_manifest.json", "s3://bucket/model_manifest.json cannot be verified"),
        ("gs://bucket", "gs://bucket is not a manifest (..._manifest.json). Give the URI of a bundle's manifest"),
        (str(SAMPLE_DATA / "NOTICE"), "NOTICE is not a manifest (..._manifest.json). No manifest of its"),
    ],
)
def test_verify_refuses_what_is_no_manifest(tmp_path: Path, uri: str, said: str) -> None:
    """Guards against a manifest that is not there being taken for a bundle that is damaged."""
    assert said in refused(Home(tmp_path / "home"), "verify", uri)


# -- help --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_help_imports_neither_dagster_nor_a_library_of_the_model(tmp_path: Path) -> None:
    """Guards against a `--help` that takes the seconds that importing Dagster takes."""
    code = (
        "import sys\n"
        "from nba_ml.cli.main import main\n"
        "try: main(['backfill', '--help'])\n"
        "finally: print('LOADED', {'dagster', 'pandas', 'xgboost', 'pyarrow', 'duckdb'} & set(sys.modules))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("LOADED set()\n")


@pytest.mark.parametrize(
    ("command", "taught"),
    [
        ([], ["Start with:    nba-ml run", "Every month:   nba-ml backfill", "NBA_ML_HOME", "--debug"]),
        (["run"], ["--month YYYY-MM", "skipped", "--override ASSET.CHECK", "--reason", "no option that overrides"]),
        (["check"], ["--junit FILE", "--summary FILE", "0: all passed", "1: a check of level ERROR", "2: the checks"]),
        (
            ["backfill"],
            [
                "reported and skipped",
                "--only-missing",
                "--from YYYY-MM",
                "--assets A,B,...",
                "After a kill or Ctrl-C",
            ],
        ),
        (["verify"], ["URI is its manifest, as `nba-ml run` or `nba-ml rollout register` prints it"]),
        (["ui"], ["--port", "loopback", "`dagster dev` and `dagster-webserver` have no such guard", "NBA_ML_UI_HOSTS"]),
    ],
)
def test_help_teaches(tmp_path: Path, command: list[str], taught: list[str]) -> None:
    """Guards against a command whose help does not say how to use it."""
    words = " ".join(Home(tmp_path / "home").run_here(*command, "--help").stdout.split())
    assert [each for each in taught if " ".join(each.split()) not in words] == []


def test_no_help_text_of_a_list_is_cut_off() -> None:
    """Guards against a list of commands whose lines end in '...' on a terminal of 80 columns."""

    def shown(group: click.Group, path: tuple[str, ...]) -> None:
        said = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output
        assert [line for line in said.splitlines() if line.endswith("...") and not line.startswith("Usage")] == []
        for name, each in group.commands.items():
            if isinstance(each, click.Group):
                shown(each, (*path, name))

    shown(main, ())


def test_an_empty_home_has_no_models(tmp_path: Path) -> None:
    """Guards a new user's first look, before anything is published."""
    ended = Home(tmp_path / "home").run_here("models", "list")
    assert ended.returncode == 0, ended.stderr
    assert "No model is published in " in ended.stdout
