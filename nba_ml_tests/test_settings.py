"""The environment is read once, at the edge, and a value that cannot work is named."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nba_ml
from nba_ml.contract.errors import SettingsError
from nba_ml.contract.setting_names import require_known_names
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2
from nba_ml.contract.thresholds import Thresholds
from nba_ml.machine import available_cores
from nba_ml.settings import SAMPLE_DATA, BigQuerySettings, Settings
from nba_ml.storage.opening import signing_of_worker

BIGQUERY = {"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "platform"}


def test_nothing_set_puts_everything_local_under_one_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against files strewn over the machine, and against relative paths that a later chdir moves."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / ".nba_ml"
    assert Settings.from_environment({}) == Settings(
        home=home,
        store=str(home / "store"),
        artifact_root=str(home / "artifacts"),
        data=SAMPLE_DATA,
        dagster_home=home / "dagster",
        threads=available_cores(),
        systems=(XGBOOST_V1, XGBOOST_V2),
    )


def test_the_systems_are_those_whose_features_there_are() -> None:
    """Guards the default, where BigQuery's features are the first system's, and against one that reads reports there:
    its tables have none with the time at which they were made, so nothing could enforce the cut-off."""
    assert Settings.from_environment(BIGQUERY).systems == (XGBOOST_V1,)
    assert Settings.from_environment({"NBA_ML_SYSTEMS": " xgboost_v1 "}).systems == (XGBOOST_V1,)
    for environ in ({"NBA_ML_SYSTEMS": "xgboost_v2"}, {"NBA_ML_SYSTEMS": "xgboost_v1,xgboost_v1"}):
        with pytest.raises(SettingsError, match=f"NBA_ML_SYSTEMS is '{environ['NBA_ML_SYSTEMS']}'. Give xgboost_v1,"):
            Settings.from_environment(environ)
    both = {**BIGQUERY, "NBA_ML_SYSTEMS": "xgboost_v1,xgboost_v2"}
    assert Settings.from_environment(both).systems == (XGBOOST_V1, XGBOOST_V2)
    with pytest.raises(SettingsError, match=r"no reports of who is out with the time .* xgboost_v3 reads such reports"):
        Settings.from_environment({**BIGQUERY, "NBA_ML_SYSTEMS": "xgboost_v1,xgboost_v2,xgboost_v3"})


def test_every_setting_is_read(tmp_path: Path) -> None:
    """Guards against a setting that is documented and ignored."""
    environ = {
        "NBA_ML_HOME": "~/somewhere",
        "NBA_ML_STORE": str(tmp_path / "s"),
        "NBA_ML_ARTIFACT_ROOT": str(tmp_path / "a"),
        "NBA_ML_DATA": str(tmp_path / "d"),
        "DAGSTER_HOME": str(tmp_path / "g"),
        "NBA_ML_THREADS": "3",
        "NBA_ML_ROWS_IN_MEMORY": "5000000",
        "NBA_ML_SOURCE": "embedded",
        "NBA_ML_RETRAIN": "all",
        "NBA_ML_SYSTEMS": "xgboost_v1",
        "NBA_ML_UI_HOSTS": "UI.example.com, localhost:8080,[fd00::1]:3000",
        "NBA_ML_NBA_API": "http://127.0.0.1:8080/stats/",
        "NBA_ML_DASK": "tls://scheduler.internal:8786",
        "NBA_ML_THRESHOLDS": str(tmp_path / "limits.toml"),
    }
    (tmp_path / "limits.toml").write_text("max_validation_mae = 4.9\nbias = [-2, 1]\n")
    assert Settings.from_environment(environ) == Settings(
        home=Path.home() / "somewhere",
        store=str(tmp_path / "s"),
        artifact_root=str(tmp_path / "a"),
        data=tmp_path / "d",
        dagster_home=tmp_path / "g",
        threads=3,
        rows_in_memory=5_000_000,
        retrain="all",
        ui_hosts=("ui.example.com", "localhost:8080", "[fd00::1]:3000"),
        nba_api="http://127.0.0.1:8080/stats",
        dask="tls://scheduler.internal:8786",
        thresholds=Thresholds(max_validation_mae=4.9, bias=(-2, 1)),
    )


def test_every_setting_of_bigquery_is_read() -> None:
    """Guards against a table of the platform's that is named in the settings and another that is read."""
    environ = {
        "NBA_ML_SOURCE": "bigquery",
        "NBA_ML_BIGQUERY_PROJECT": "platform",
        "NBA_ML_FEATURE_TABLE": "predictions.features",
        "NBA_ML_SUMMARY_TABLE": "analytics.summary",
        "NBA_ML_PREDICTION_TABLE": "predictions.served",
        "NBA_ML_BIGQUERY_LOCATION": "EU",
        "NBA_ML_BIGQUERY_MAX_BYTES": "1000000",
        "NBA_ML_FIRST_MONTH": "2022-10",
        "BIGQUERY_EMULATOR_HOST": "127.0.0.1:9050",
        "BIGQUERY_STORAGE_EMULATOR_HOST": "127.0.0.1:9060",
    }
    assert Settings.from_environment(environ).bigquery == BigQuerySettings(
        project="platform",
        feature_table="predictions.features",
        summary_table="analytics.summary",
        prediction_table="predictions.served",
        location="EU",
        maximum_bytes_billed=1_000_000,
        first_month="2022-10",
        endpoint="http://127.0.0.1:9050",
        storage_endpoint="127.0.0.1:9060",
    )


def test_google_is_asked_unless_an_emulator_is_named() -> None:
    """Guards against the platform's own table names, documented as defaults, being others."""
    found = Settings.from_environment({"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "platform"}).bigquery
    assert found == BigQuerySettings(
        project="platform",
        feature_table="nba_predictions.ml_feature_store_v2",
        summary_table="nba_analytics.player_game_summary",
        prediction_table="nba_predictions.player_prop_predictions",
        location=None,
        maximum_bytes_billed=2**30,
        first_month="2021-10",
        endpoint=None,
        storage_endpoint=None,
    )


def test_the_two_roots_may_be_buckets() -> None:
    """Guards against a bucket's name becoming a folder's."""
    found = Settings.from_environment({"NBA_ML_STORE": "gs://b/store", "NBA_ML_ARTIFACT_ROOT": "gs://b/models/"})
    assert (found.store, found.artifact_root) == ("gs://b/store", "gs://b/models")


def test_an_empty_value_counts_as_unset() -> None:
    """Guards against `NBA_ML_STORE=` in a .env file becoming the current folder."""
    names = ["NBA_ML_HOME", "NBA_ML_STORE", "NBA_ML_DATA", "NBA_ML_THREADS", "NBA_ML_SOURCE", "DAGSTER_HOME"]
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings.from_environment({})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("NBA_ML_THREADS", "0", "NBA_ML_THREADS is '0'"),
        ("NBA_ML_THREADS", "-1", "NBA_ML_THREADS is '-1'"),
        ("NBA_ML_THREADS", "two", "NBA_ML_THREADS is 'two'"),
        ("NBA_ML_ROWS_IN_MEMORY", "all", "Give a number of rows, 1 to 1,000,000,000, or leave it unset for 1,000,000"),
        ("NBA_ML_THREADS", "1.5", "NBA_ML_THREADS is '1.5'"),
        ("NBA_ML_SOURCE", "snowflake", "NBA_ML_SOURCE is 'snowflake'"),
        ("NBA_ML_SOURCE", "bigquery", "NBA_ML_BIGQUERY_PROJECT is not set"),
        ("NBA_ML_UI_HOSTS", "*", "NBA_ML_UI_HOSTS names"),
        ("NBA_ML_UI_HOSTS", "ui.example.com,https://ui.example.com", "names https://ui.example.com. Give names as"),
        ("NBA_ML_UI_HOSTS", "ui.example.com/dagster", "NBA_ML_UI_HOSTS names"),
        ("NBA_ML_UI_HOSTS", "*.example.com", "NBA_ML_UI_HOSTS names"),
        ("NBA_ML_RETRAIN", "never", "NBA_ML_RETRAIN is 'never'"),
        ("NBA_ML_STORE", "s3://bucket", "a directory or gs://bucket/prefix"),
        ("NBA_ML_STORE", "gs:/bucket/store", "NBA_ML_STORE is 'gs:/bucket/store'"),
        ("NBA_ML_ARTIFACT_ROOT", "gs:bucket", "a directory or gs://bucket/prefix"),
        ("NBA_ML_DATA", "gs://bucket", "NBA_ML_DATA is 'gs://bucket'"),
        ("NBA_ML_HOME", "gs://bucket", "NBA_ML_HOME is 'gs://bucket'"),
        ("NBA_ML_HOME", '"/data/nba"', "Write the path without quotes or blanks around it"),
        ("NBA_ML_DATA", "/data/nba\r", r"NBA_ML_DATA is '/data/nba\\r'. Write the path without"),
        ("NBA_ML_ARTIFACT_ROOT", " gs://bucket", "NBA_ML_ARTIFACT_ROOT is ' gs://bucket'. Write the path without"),
        ("NBA_ML_ARTIFACTS_ROOT", "gs://bucket", "Did you mean NBA_ML_ARTIFACT_ROOT"),
        ("NBA_ML_SYSTEM", "xgboost_v1", "Did you mean NBA_ML_SYSTEMS"),
        ("nba_ml_home", "/data", "Did you mean NBA_ML_HOME"),
        ("NBA_ML_DASK", "scheduler:8786", "NBA_ML_DASK is 'scheduler:8786'"),
        ("NBA_ML_DASK", "http://scheduler:8786", "tcp://host:8786 or tls://host:8786"),
        ("NBA_ML_DASK", "tcp://scheduler", "NBA_ML_DASK is 'tcp://scheduler'"),
        ("NBA_ML_DASK", "tcp://:8786", "NBA_ML_DASK is 'tcp://:8786'"),
        ("NBA_ML_DASK", "tcp://[::1:8786", "NBA_ML_DASK is"),
        ("NBA_ML_DASK", "tcp://user@scheduler:8786", "NBA_ML_DASK is"),
        ("NBA_ML_DASK", "tcp://scheduler:8786/", "NBA_ML_DASK is"),
    ],
)
def test_a_value_that_cannot_work_is_named(name: str, value: str, message: str) -> None:
    """Guards against a typo that shows as a failed step hours later."""
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment({name: value})


def test_names_that_others_set_are_no_misspellings() -> None:
    """Guards deployments: Kubernetes names its services in every container, here one called nba-ml-ui, nba-ml-dask."""
    suffixes = ("SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_3000_TCP", "PORT_3000_TCP_ADDR", "PORT_3000_TCP_PROTO")
    services = ("NBA_ML", "NBA_ML_UI", "NBA_ML_DASK", "NBA_ML_SERVING", "NBA_ML_SCHEDULER")
    require_known_names([f"{service}_{suffix}" for service in services for suffix in suffixes])


def test_a_worker_refuses_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a service that would answer everyone, or check no signature, because of one letter."""
    monkeypatch.setenv("NBA_ML_TOKEN", "x" * 32)
    with pytest.raises(SettingsError, match=r"NBA_ML_TOKEN is set, and no setting has this name.*NBA_ML_TOKENS"):
        signing_of_worker()


def test_the_environment_is_read_in_one_place() -> None:
    """Guards against an asset that behaves otherwise on another machine: below the edge, values come as arguments."""
    package = Path(nba_ml.__file__).parent
    readers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and {"environ", "getenv"} & {alias.name for alias in node.names})
    }
    assert "settings.py" in readers
    # cli/ui.py hands it on to the web UI; machine.py sets what OpenMP reads when it loads. storage/opening.py reads who
    # pays for requests to a bucket: no byte depends on that, and the worker, which has no Settings, needs it.
    assert readers <= {"settings.py", "cli/ui.py", "machine.py", "storage/opening.py"}


@pytest.mark.parametrize("name", ["BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST"])
def test_an_emulator_has_both_addresses_or_none(name: str) -> None:
    """Guards against rows of an emulator that are asked of Google, for two minutes, or the other way round."""
    environ = {"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "platform", name: "127.0.0.1:9050"}
    with pytest.raises(
        SettingsError, match="BIGQUERY_EMULATOR_HOST and BIGQUERY_STORAGE_EMULATOR_HOST belong together"
    ):
        Settings.from_environment(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [("NBA_ML_FIRST_MONTH", "2022-07"), ("NBA_ML_FIRST_MONTH", "2021"), ("NBA_ML_BIGQUERY_MAX_BYTES", "1GB")],
)
def test_a_setting_of_bigquery_that_cannot_work_is_named(name: str, value: str) -> None:
    """Guards against a limit that is ignored because it was mistyped."""
    environ = {"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "platform", name: value}
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment(environ)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "limits.toml, which cannot be read"),
        ("max_validation_mea = 4.9", "max_validation_mea: Extra inputs are not permitted"),
        ("max_validation_mae = -1", "max_validation_mae: Input should be greater than or equal to 0"),
        ("bias = 3", "bias: Input should be a valid tuple"),
        ("max_validation_mae: 4.9", "is not valid TOML"),
    ],
)
def test_a_file_of_limits_that_cannot_work_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    """Guards against a limit that was mistyped and silently left as shipped."""
    file = tmp_path / "limits.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"NBA_ML_THRESHOLDS": str(file)})
    assert said in str(refused.value)
    assert str(file) in str(refused.value)
