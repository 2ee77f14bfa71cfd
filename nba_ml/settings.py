"""The settings: the environment is read here, once. Everything else receives values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from nba_ml.contract.errors import MonthError, SettingsError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.limits import PAGED_ROWS
from nba_ml.contract.proxies import SETTING as TRUSTED_PROXIES
from nba_ml.contract.proxies import Proxies, parse_proxies
from nba_ml.contract.season import parse_month
from nba_ml.contract.setting_names import bare_path, require_known_names
from nba_ml.contract.signing import Signing
from nba_ml.contract.systems import SYSTEMS, XGBOOST_V1, XGBOOST_V2, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.contract.times import REPORT_CUT_OFF
from nba_ml.machine import available_cores
from nba_ml.storage.objects import URI_SCHEME

SAMPLE_DATA = Path(__file__).parent / "sample_data"
"""The real box scores and lines that the package ships."""

NBA_API = "https://stats.nba.com/stats"
"""Where nba.com's API is."""

HOST = re.compile(r"(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
"""A Host header in lower case: a name or an address, and a port unless it is the scheme's own."""

_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
"""As `urlsplit` gives it: a name, an IPv4 address, or an IPv6 address without its brackets."""

_MOST_THREADS = 1024
"""More cores than any machine that this runs on has. With 100,000, entered by mistake, no month finished."""

_MOST_ROWS = 10**9
"""More than fit into any machine's memory."""

_ALL_CORES = "the cores that this process may use"


@dataclass(frozen=True, slots=True)
class BigQuerySettings:
    """Where BigQuery's tables are. `endpoint` and `storage_endpoint` are an emulator's; None is Google.

    `feature_versions` are the accepted versions of feature rows, the first that a player-game has counts. `system_ids`
    maps a system id, or 'challenger', to its id in the table of predictions. `platform_systems` are the ids there of
    the platform's own systems that are graded beside ours. `lines_table` has points lines for features that are
    computed in BigQuery and prices for slates, and `computes_features` says whether an asset does that.
    """

    project: str
    feature_table: str
    summary_table: str
    prediction_table: str
    location: str | None
    maximum_bytes_billed: int
    first_month: str
    endpoint: str | None
    storage_endpoint: str | None
    feature_versions: tuple[str, ...] = (V2_33FEATURES.name,)
    system_ids: Mapping[str, str] = field(default_factory=dict)
    platform_systems: tuple[str, ...] = ()
    lines_table: str | None = None
    computes_features: bool = False


@dataclass(frozen=True, slots=True)
class MailSettings:
    """A mail server, sender and recipients. `security` is 'starttls', 'ssl' or 'none'. The password is not shown."""

    host: str
    port: int
    security: str
    user: str | None
    password: str | None = field(repr=False)
    sender: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Who is notified of a failure, besides the log. A webhook's address is as good as a password, and not shown.

    `ui_url` is where the UI is, for links.
    """

    webhook: str | None = field(default=None, repr=False)
    mail: MailSettings | None = None
    ui_url: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are.

    `home` holds everything local; `store` what passes between assets and `artifact_root` what is published, each
    an absolute path or `gs://bucket/prefix`; `data` the embedded source's files; `bigquery` the feature store
    where that is not embedded; `threads` bounds DuckDB and XGBoost, and a training on more rows than
    `rows_in_memory` goes through files: neither changes a byte;
    `retrain` is which models the sensor trains anew: the `latest` month's, or those of `all` months after a change;
    `thresholds` are the limits of the checks; `notify` is who is notified of a failure;
    `ui_hosts` are the names, beside loopback's, under which a browser reaches the web UI, and `trusted_proxies` are
    the addresses whose forwarded headers it believes; `nba_api` is where
    `nba-ml fetch` asks; `systems` are those whose models are trained, the first of them first; `report_cut_off` is how
    long before tip-off injury reports cease to count; `signing` is whose signatures are required of what is published,
    None for nobody's; `dask` is the scheduler of the cluster that trains, None for this process.
    """

    home: Path
    store: str
    artifact_root: str
    data: Path
    dagster_home: Path
    threads: int
    rows_in_memory: int = PAGED_ROWS
    bigquery: BigQuerySettings | None = None
    retrain: str = "latest"
    thresholds: Thresholds = field(default_factory=Thresholds)
    notify: NotifySettings = field(default_factory=NotifySettings)
    ui_hosts: tuple[str, ...] = ()
    trusted_proxies: Proxies = ()
    nba_api: str = NBA_API
    systems: tuple[System, ...] = (XGBOOST_V1,)
    report_cut_off: timedelta = REPORT_CUT_OFF
    signing: Signing | None = None
    dask: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `NBA_ML_*`, `DAGSTER_HOME`, and Google's own names for emulators.

        Raises:
            SettingsError: a value that cannot work, or a misspelt name, naming the setting.
        """
        require_known_names(environ)
        home = _path(environ, "NBA_ML_HOME", Path(".nba_ml"))
        source = _choice(environ, "NBA_ML_SOURCE", ("embedded", "bigquery"))
        return cls(
            home=home,
            store=_root(environ, "NBA_ML_STORE", home / "store"),
            artifact_root=_root(environ, "NBA_ML_ARTIFACT_ROOT", home / "artifacts"),
            data=_path(environ, "NBA_ML_DATA", SAMPLE_DATA),
            dagster_home=_path(environ, "DAGSTER_HOME", home / "dagster"),
            threads=_number(environ, "NBA_ML_THREADS", 1, _MOST_THREADS, "the number of threads", _ALL_CORES)
            or available_cores(),
            rows_in_memory=_number(
                environ, "NBA_ML_ROWS_IN_MEMORY", 1, _MOST_ROWS, "a number of rows", f"{PAGED_ROWS:,}"
            )
            or PAGED_ROWS,
            bigquery=_bigquery(environ) if source == "bigquery" else None,
            retrain=_choice(environ, "NBA_ML_RETRAIN", ("latest", "all")),
            thresholds=_thresholds(environ),
            notify=_notify(environ),
            ui_hosts=_ui_hosts(environ),
            trusted_proxies=parse_proxies(environ.get(TRUSTED_PROXIES)),
            nba_api=_url(environ, "NBA_ML_NBA_API") or NBA_API,
            systems=_systems(environ, source),
            report_cut_off=_report_cut_off(environ),
            signing=Signing.from_environment(environ),
            dask=_dask(environ),
        )


def _report_cut_off(environ: Mapping[str, str]) -> timedelta:
    minutes = _number(environ, "NBA_ML_REPORT_CUTOFF", 0, 24 * 60, "minutes before tip-off", "30")
    return REPORT_CUT_OFF if minutes is None else timedelta(minutes=minutes)


def _dask(environ: Mapping[str, str]) -> str | None:
    value = environ.get("NBA_ML_DASK")
    if not value:
        return None
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("tcp", "tls") and bool(_HOST_NAME.fullmatch(parts.hostname or "")) and bool(parts.port)
    except ValueError:  # as in `_url`
        valid = False
    if not valid or "@" in value or value != f"{parts.scheme}://{parts.netloc}":
        raise SettingsError(
            f"NBA_ML_DASK is '{value}'. Give the address of a Dask scheduler, tcp://host:8786 or tls://host:8786, or "
            "leave it unset to train in this process."
        )
    return value


def _systems(environ: Mapping[str, str], source: str) -> tuple[System, ...]:
    text = environ.get("NBA_ML_SYSTEMS")
    if not text:  # a platform's feature store has the features of the first system only, until others are computed
        return (XGBOOST_V1,) if source == "bigquery" else (XGBOOST_V1, XGBOOST_V2)
    ids = [each.strip() for each in text.split(",") if each.strip()]
    if ids[:1] != [XGBOOST_V1.id] or len(set(ids)) < len(ids) or not set(ids) <= SYSTEMS.keys():
        raise SettingsError(
            f"NBA_ML_SYSTEMS is '{text}'. Give {XGBOOST_V1.id}, with which others are compared, and then each other "
            f"system once, with commas between them: {','.join(SYSTEMS)}."
        )
    systems = tuple(SYSTEMS[each] for each in ids)
    reading = [each.id for each in systems if each.features.reads_reports]
    if source == "bigquery" and reading:
        raise SettingsError(
            f"NBA_ML_SYSTEMS is '{text}' and NBA_ML_SOURCE is 'bigquery', whose tables have no reports of who is out "
            f"with the time at which they were made. {', '.join(reading)} reads such reports: leave it out, or train "
            "it from files (docs/pages/how-to/who-is-out.md)."
        )
    return systems


def _ui_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    hosts = tuple(each.strip().lower() for each in environ.get("NBA_ML_UI_HOSTS", "").split(",") if each.strip())
    if wrong := [each for each in hosts if not HOST.fullmatch(each)]:
        raise SettingsError(
            f"NBA_ML_UI_HOSTS names {', '.join(wrong)}. Give names as the browser shows them, with the port if there "
            "is one, and commas between them: ui.example.com,localhost:8080."
        )
    return hosts


def _thresholds(environ: Mapping[str, str]) -> Thresholds:
    value = environ.get("NBA_ML_THRESHOLDS")
    return Thresholds.from_file(Path(value).expanduser()) if value else Thresholds()


_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


def _notify(environ: Mapping[str, str]) -> NotifySettings:
    return NotifySettings(
        webhook=_url(environ, "NBA_ML_NOTIFY_WEBHOOK"),
        mail=_mail(environ),
        ui_url=_url(environ, "NBA_ML_UI_URL"),
    )


def _url(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name)
    if not value:
        return None
    # Not the value itself in any error: a webhook's address is a secret.
    if not value.startswith(("https://", "http://")):
        raise SettingsError(f"{name} must be an address that begins with https:// or http://.")
    if any(not 32 < ord(character) < 127 for character in value):
        raise SettingsError(
            f"{name} has a space, a line break or a character beyond ASCII. Copy the address again; write such "
            "characters of a path as %20 or the like."
        )
    try:
        parts = urlsplit(value)
        valid = _HOST_NAME.fullmatch(parts.hostname or "") is not None and parts.port != 0
    except ValueError:  # brackets that are not closed, or a port that is no number
        valid = False
    if not valid:
        raise SettingsError(
            f"{name} has no valid host name or port. It must be an address like https://hooks.example.com/T0/B0 or "
            "http://127.0.0.1:8000/hook."
        )
    return value.rstrip("/")


def _mail(environ: Mapping[str, str]) -> MailSettings | None:
    to = tuple(each.strip() for each in environ.get("NBA_ML_NOTIFY_EMAIL", "").split(",") if each.strip())
    if not to:
        return None
    host, user, password = (environ.get(f"NBA_ML_SMTP_{name}") or None for name in ("HOST", "USER", "PASSWORD"))
    if host is None:
        raise SettingsError("NBA_ML_NOTIFY_EMAIL is set and NBA_ML_SMTP_HOST is not. Name the mail server.")
    if wrong := [each for each in to if "@" not in each or len(each.split()) != 1]:
        raise SettingsError(f"NBA_ML_NOTIFY_EMAIL names {', '.join(wrong)}. Give addresses, with commas between them.")
    security = _choice(environ, "NBA_ML_SMTP_SECURITY", tuple(_PORTS))
    if (user is None) is not (password is None):
        raise SettingsError("NBA_ML_SMTP_USER and NBA_ML_SMTP_PASSWORD belong together: set both, or neither.")
    if password is not None and security == "none":
        raise SettingsError(
            "NBA_ML_SMTP_PASSWORD is set and NBA_ML_SMTP_SECURITY is 'none': the password would go over the network as "
            "it is. Use 'starttls' or 'ssl'."
        )
    port = _number(environ, "NBA_ML_SMTP_PORT", 1, 65_535, "a port", str(_PORTS[security])) or _PORTS[security]
    sender = environ.get("NBA_ML_SMTP_FROM") or to[0]
    return MailSettings(host, port, security, user, password, sender, to)


def _bigquery(environ: Mapping[str, str]) -> BigQuerySettings:
    project = environ.get("NBA_ML_BIGQUERY_PROJECT")
    if not project:
        raise SettingsError(
            "NBA_ML_SOURCE is 'bigquery' and NBA_ML_BIGQUERY_PROJECT is not set. Give the id of the Google Cloud "
            "project that the feature store is in."
        )
    first_month = environ.get("NBA_ML_FIRST_MONTH") or "2021-10"
    try:
        parse_month(first_month)
    except MonthError as error:
        raise SettingsError(f"NBA_ML_FIRST_MONTH: {error}") from error
    host = environ.get("BIGQUERY_EMULATOR_HOST")
    storage = environ.get("BIGQUERY_STORAGE_EMULATOR_HOST") or None
    if bool(host) is not bool(storage):  # otherwise half of each query would go to Google
        raise SettingsError(
            "BIGQUERY_EMULATOR_HOST and BIGQUERY_STORAGE_EMULATOR_HOST belong together: an emulator's REST service and "
            "its Storage Read service (host:port). Set both, or neither."
        )
    most = 2**50
    return BigQuerySettings(
        project=project,
        feature_table=environ.get("NBA_ML_FEATURE_TABLE") or "nba_predictions.ml_feature_store_v2",
        summary_table=environ.get("NBA_ML_SUMMARY_TABLE") or "nba_analytics.player_game_summary",
        prediction_table=environ.get("NBA_ML_PREDICTION_TABLE") or "nba_predictions.player_prop_predictions",
        location=environ.get("NBA_ML_BIGQUERY_LOCATION") or None,
        maximum_bytes_billed=_number(environ, "NBA_ML_BIGQUERY_MAX_BYTES", 1, most, "a number of bytes", "1 GiB")
        or 2**30,
        first_month=first_month,
        feature_versions=_feature_versions(environ),
        system_ids=_system_ids(environ),
        platform_systems=parse_systems(environ.get("NBA_ML_PLATFORM_SYSTEMS") or "", "NBA_ML_PLATFORM_SYSTEMS"),
        lines_table=environ.get("NBA_ML_LINES_TABLE") or None,
        computes_features=_choice(environ, "NBA_ML_BIGQUERY_FEATURES", ("external", "computed")) == "computed",
        endpoint=(host if "://" in host else f"http://{host}") if host else None,
        storage_endpoint=storage,
    )


_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _feature_versions(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Without repetitions. The names become part of a query, so nothing else is accepted."""
    text = environ.get("NBA_ML_FEATURE_VERSIONS") or V2_33FEATURES.name
    versions = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    if not versions or not all(map(_VERSION.fullmatch, versions)):
        raise SettingsError(
            f"NBA_ML_FEATURE_VERSIONS is '{text}'. Give the accepted values of feature_version, the preferred one "
            f"first, with commas between them: {V2_33FEATURES.name},v2_54features."
        )
    return versions


def _system_ids(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The ids become part of a query, so only letters, digits, `_`, `.` and `-` are accepted."""
    text = environ.get("NBA_ML_SYSTEM_IDS") or ""
    pairs = [each.strip().partition("=") for each in text.split(",") if each.strip()]
    ids = {name.strip(): mapped.strip() for name, _, mapped in pairs}
    if not all(_VERSION.fullmatch(each) for pair in ids.items() for each in pair) or len(ids) < len(pairs):
        raise SettingsError(
            f"NBA_ML_SYSTEM_IDS is '{text}'. Give each id once, with its id in the table: "
            "xgboost_v1=xgboost_v1_nba_ml,challenger=xgboost_v1_next."
        )
    return ids


def parse_systems(text: str, name: str) -> tuple[str, ...]:
    """System ids with commas between them, without repetitions. They become part of a query, like the versions.

    Raises:
        SettingsError: an id is invalid; the message calls the text by `name`.
    """
    systems = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    if not all(map(_VERSION.fullmatch, systems)):
        raise SettingsError(
            f"{name} is '{text}'. Give the system_ids as the table of predictions has them, with commas between them: "
            "moving_average,catboost_v8."
        )
    return systems


def _path(environ: Mapping[str, str], name: str, default: Path) -> Path:
    value = bare_path(environ, name) or str(default)
    if URI_SCHEME.match(value):
        raise SettingsError(f"{name} is '{value}'. It must be a directory, not a URI.")
    return Path(value).expanduser().absolute()


def _root(environ: Mapping[str, str], name: str, default: Path) -> str:
    value = bare_path(environ, name) or str(default)
    if value.startswith("gs://"):
        return value.rstrip("/")
    if URI_SCHEME.match(value):
        raise SettingsError(f"{name} is '{value}'. It must be a directory or gs://bucket/prefix.")
    return str(Path(value).expanduser().absolute())


def _choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed values, the first of which is the default."""
    value = environ.get(name) or allowed[0]
    if value not in allowed:
        raise SettingsError(f"{name} is '{value}'. It must be {' or '.join(repr(each) for each in allowed)}.")
    return value


def _number(environ: Mapping[str, str], name: str, low: int, high: int, what: str, default: str) -> int | None:
    value = environ.get(name)
    if not value:
        return None
    if not value.isdecimal() or not low <= int(value) <= high:
        raise SettingsError(f"{name} is '{value}'. Give {what}, {low:,} to {high:,}, or leave it unset for {default}.")
    return int(value)
