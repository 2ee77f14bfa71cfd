"""Notices against real servers on loopback, and the sensor that sends them: nobody untold, nobody told twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from nba_ml.contract.assets import PID_TAG
from nba_ml.contract.errors import NotifyError, SettingsError
from nba_ml.defs.sensors.failures import TOLD, build_notifier
from nba_ml.monitoring.notify import Notice, post, send, targets_of
from nba_ml.settings import MailSettings, NotifySettings, Settings
from nba_ml_tests.mail import (
    HOST,
    PASSWORD,
    REFUSED,
    USER,
    Certificate,
    Hook,
    Mailbox,
    mail_server,
    make_certificate,
    silent_server,
    webhook,
)
from nba_ml_tests.ports import free_port

pytestmark = pytest.mark.slow

NOTICE = Notice(
    "error", "xgboost_model of 2025-01\nfailed", "No rows.", "Mend it.", asset="xgboost_model", month="2025-01"
)
SECRET = "secret-token"
LEAD = "lead@example.org"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as hook:
        yield hook


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


def mail(port: int, security: str = "none", password: str | None = None, to: tuple[str, ...] = (LEAD,)) -> MailSettings:
    return MailSettings(HOST, port, security, USER if password else None, password, "ml@example.org", to)


# --- one delivery ---------------------------------------------------------------------------------------------


def test_a_webhook_gets_text_for_a_chat_and_fields_for_a_program(hook: Hook) -> None:
    """Guards the form that Slack shows, and that somebody's own program reads."""
    assert post(hook.url, NOTICE) is None
    [sent] = hook.posts
    assert (sent["asset"], sent["month"], sent["level"], sent["next_step"]) == (
        "xgboost_model", "2025-01", "error", "Mend it.",
    )  # fmt: skip
    assert "What to do: Mend it." in sent["text"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(500, "answered 500"), (429, "answered 429; retry after 30"), (302, "answered 302"), ("close", "cannot be"),
     ("hang", "did not answer within 0.3 s")],
)  # fmt: skip
def test_a_webhook_that_does_not_take_it_is_said_without_its_address(hook: Hook, answer: int | str, said: str) -> None:
    """Guards against a lost notice that looks delivered, a tick that hangs, and a secret in the UI."""
    hook.answer = answer
    why = post(hook.url, NOTICE, within=0.3 if answer == "hang" else 60)
    assert why is not None
    assert said in why
    assert SECRET not in why
    assert hook.posts == []


def test_nobody_listens_at_the_webhook() -> None:
    """Guards against the address in the library's own message."""
    why = post(f"http://{HOST}:{free_port()}/{SECRET}", NOTICE)
    assert why == f"the webhook at {HOST} cannot be reached (ConnectionError)"


def test_a_webhook_must_have_a_certificate_that_is_trusted(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a notice for whoever sits on the line."""
    with webhook(certificate) as hook:
        assert post(hook.url, NOTICE) == f"the certificate of the webhook at {HOST} is not trusted"
        assert hook.posts == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
        assert post(hook.url, NOTICE) is None


def test_a_mail_has_one_line_of_subject_and_all_of_the_notice(box: Mailbox) -> None:
    """Guards against a header that an error's line break ends."""
    assert send(mail(box.port), LEAD, NOTICE) is None
    [(to, message)] = box.messages
    assert to == LEAD
    assert message["Subject"] == r"[nba_ml] xgboost_model of 2025-01\nfailed"
    assert "What to do: Mend it." in str(message.get_payload())


def test_a_refused_recipient_is_said(box: Mailbox) -> None:
    """Guards against a mailbox that was closed a year ago, and nobody knows; however its address is written."""
    for to in (REFUSED, f"<{REFUSED}>", f"Operations<{REFUSED}>"):
        said = f"the mail server {HOST}:{box.port} does not deliver to {to} (550)"
        assert send(mail(box.port), to, NOTICE) == said


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_mail_over_tls_with_a_login(certificate: Certificate, monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    """Guards against a password over an open line, or to a server that is not the one named."""
    with mail_server(certificate, at_once=security == "ssl") as box:
        untrusted = send(mail(box.port, security, PASSWORD), LEAD, NOTICE)
        assert untrusted == f"the certificate of the mail server {HOST}:{box.port} is not trusted"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
        wrong = send(mail(box.port, security, "another"), LEAD, NOTICE)
        assert wrong == f"the mail server {HOST}:{box.port} rejects the user or the password (535)"
        assert box.messages == []
        assert send(mail(box.port, security, PASSWORD), LEAD, NOTICE) is None
        assert len(box.messages) == 1


def test_a_mail_server_without_starttls_gets_no_password(box: Mailbox) -> None:
    """Guards against falling back to an open line where TLS was asked for."""
    why = send(mail(box.port, "starttls", PASSWORD), LEAD, NOTICE)
    assert why is not None
    assert "does not support NBA_ML_SMTP_SECURITY as set" in why
    assert box.messages == []


def test_a_mail_server_that_says_nothing_or_is_not_there() -> None:
    """Guards against a tick that waits for ever."""
    with silent_server() as port:
        assert (
            send(mail(port), LEAD, NOTICE, within=0.3) == f"the mail server {HOST}:{port} did not answer within 0.3 s"
        )
    port = free_port()
    assert "cannot be reached" in str(send(mail(port), LEAD, NOTICE))


def test_no_secret_is_shown_by_the_settings() -> None:
    """Guards against a password in a log line that prints the settings."""
    shown = repr(NotifySettings(webhook=f"https://h/{SECRET}", mail=mail(25, "ssl", PASSWORD)))
    assert SECRET not in shown
    assert PASSWORD not in shown


# --- the sensor -----------------------------------------------------------------------------------------------


@dg.asset
def fragile() -> None:
    """Fails."""
    raise RuntimeError("the table has no rows")


@dg.asset
def sound() -> None:
    """Succeeds."""


@dg.asset_check(asset=sound)
def watched() -> dg.AssetCheckResult:
    """Fails, and does not block: the run is green."""
    return dg.AssetCheckResult(passed=False, description="the champion is 60 days old")


@dg.asset_check(asset=sound)
def only_warns() -> dg.AssetCheckResult:
    """Warns."""
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="a little late")


@dg.multi_asset_check(name="sound_checks", specs=[dg.AssetCheckSpec("contract", asset="sound", blocking=True)])
def stops_the_run() -> Iterator[dg.AssetCheckResult]:
    """Fails, and stops the run."""
    yield dg.AssetCheckResult(passed=False, asset_key="sound", check_name="contract", description="34 columns")


class Watch:
    """An instance, the sensor with its cursor, and its targets."""

    def __init__(self, instance: dg.DagsterInstance, settings: NotifySettings) -> None:
        self.instance, self.settings = instance, settings
        self.cursor: str | None = None
        self.look()

    def run(self, *assets: Any, tags: dict[str, str] | None = None) -> str:
        result = dg.materialize(
            [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)],
            instance=self.instance, raise_on_error=False, tags=tags or {},
        ) if len(assets) == 1 else self._checked(*assets)  # fmt: skip
        return result.run_id

    def _checked(self, *parts: Any) -> dg.ExecuteInProcessResult:
        defs = dg.Definitions(assets=parts[:1], asset_checks=parts[1:])
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, raise_on_error=False
        )

    def look(self) -> str:
        """A tick. As in the daemon, one that raises keeps the old cursor."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = build_notifier(self.settings)(context)
        self.cursor = context.cursor
        assert isinstance(result, dg.SkipReason)
        return str(result.skip_message)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """One for all tests: each watch begins after what has ended by then."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def watch(instance: dg.DagsterInstance, hook: Hook, box: Mailbox) -> Watch:
    return Watch(instance, NotifySettings(hook.url, mail(box.port, to=(LEAD, "second@example.org")), "http://ui"))


def test_a_failed_run_is_told_once_to_everybody(watch: Watch, hook: Hook, box: Mailbox) -> None:
    """Guards the whole point: what failed, in its own words, where, and what to do."""
    run_id = watch.run(fragile)
    assert "1 run(s) ended since the last tick, 1 to report" in watch.look()
    assert "0 run(s)" in watch.look()
    [sent] = hook.posts
    assert (sent["asset"], sent["run_id"], sent["link"]) == ("fragile", run_id, f"http://ui/runs/{run_id}")
    assert sent["said"] == "the table has no rows"
    assert sorted(to for to, _ in box.messages) == [LEAD, "second@example.org"]
    assert box.subjects == ["[nba_ml] fragile failed"] * 2


def test_a_failed_check_of_a_green_run_is_told_and_a_warning_is_not(watch: Watch, hook: Hook) -> None:
    """Guards against a red standing check that fails no run, and so reaches nobody."""
    watch.run(sound, only_warns)
    watch.look()
    assert hook.posts == []
    watch.run(sound, watched)
    watch.look()
    [sent] = hook.posts
    assert (sent["level"], sent["said"]) == ("warning", "sound.watched: the champion is 60 days old")


def test_a_check_that_stops_a_run_is_told_in_its_own_words(watch: Watch, hook: Hook) -> None:
    """Guards against a notice that says how many checks failed, and not which, or why."""
    watch.run(sound, stops_the_run)
    watch.look()
    [sent] = hook.posts
    assert (sent["asset"], sent["level"], sent["said"]) == ("sound", "error", "sound.contract: 34 columns")


@pytest.mark.parametrize(
    ("asset", "partition", "config", "command"),
    [
        ("slate_predictions", "2025-01-22", {"to_bigquery": True}, "slate predict --date 2025-01-22 --to-bigquery`"),
        ("slate_predictions", "2025-01-22", {"to_bigquery": False}, "slate predict --date 2025-01-22`"),
        ("slate_grades", "2025-01", {"to_bigquery": False}, "slate grade --month 2025-01`"),
        ("champion", "", {"to_bigquery": False}, "champion promote`"),
        ("rollout", "", {"to_bigquery": False}, "rollout advance`"),
        ("xgboost_model", "2025-01", {"to_bigquery": False}, "backfill --only-missing`"),
    ],
)
def test_the_next_step_is_one_that_makes_what_failed(
    watch: Watch, hook: Hook, asset: str, partition: str, config: dict[str, bool], command: str
) -> None:
    """Guards against a slate that is missing in the evening since the notice named a command that makes none."""

    @dg.asset(name=asset, config_schema={"to_bigquery": bool})
    def fails() -> None:
        raise RuntimeError("not today")

    dg.materialize(
        [fails],
        instance=watch.instance,
        raise_on_error=False,
        run_config={"ops": {asset: {"config": config}}},
        tags={"dagster/partition": partition} if partition else {},
    )
    watch.look()
    [sent] = hook.posts
    assert f"`nba-ml {command}" in sent["next_step"]
    assert (sent["day"], sent["month"]) == ((partition, "") if len(partition) == 10 else ("", partition))
    assert ("Day: 2025-01-22" in sent["text"]) is (asset == "slate_predictions")


def test_a_slate_that_fails_before_its_first_step_is_told_with_its_command(watch: Watch, hook: Hook) -> None:
    """Guards against the advice to backfill where a resource could not be made: no step then names the asset."""

    @dg.resource
    def broken() -> None:
        raise RuntimeError("no store")

    @dg.asset(required_resource_keys={"store"})
    def slate_predictions() -> None:
        """Is never reached."""

    job = dg.define_asset_job("slate", ["slate_predictions"])
    defs = dg.Definitions([slate_predictions], jobs=[job], resources={"store": broken})
    defs.resolve_job_def("slate").execute_in_process(
        instance=watch.instance, raise_on_error=False, tags={"dagster/partition": "2025-01-22"}
    )
    watch.look()
    [sent] = hook.posts
    assert sent["title"] == "slate of 2025-01-22 failed"
    assert "`nba-ml slate predict --date 2025-01-22` makes the slate" in sent["next_step"]


@pytest.mark.parametrize("answer", [500, 429, "close"])
def test_one_dead_target_holds_up_nobody_and_is_tried_again(
    watch: Watch, hook: Hook, box: Mailbox, answer: int | str
) -> None:
    """Guards against a swallowed failure, against silence for the others, and against telling them again."""
    hook.answer = answer
    first, second = watch.run(fragile), watch.run(fragile)
    for _ in range(2):
        with pytest.raises(NotifyError, match=r"Not all targets got the notice\. webhook: the webhook at"):
            watch.look()
    assert len(box.messages) == 4  # two runs, two addresses, once each
    hook.answer = 200
    watch.look()
    assert [sent["run_id"] for sent in hook.posts] == [first, second]
    watch.look()
    assert (len(hook.posts), len(box.messages)) == (2, 4)


def test_a_refused_address_does_not_tell_the_others_twice(
    instance: dg.DagsterInstance, hook: Hook, box: Mailbox
) -> None:
    """Guards against a mail every half minute to everybody whose colleague has left."""
    watch = Watch(instance, NotifySettings(hook.url, mail(box.port, to=(REFUSED, LEAD))))
    watch.run(fragile)
    for _ in range(3):
        with pytest.raises(NotifyError, match=f"does not deliver to {REFUSED}"):
            watch.look()
    assert [to for to, _ in box.messages] == [LEAD]
    assert len(hook.posts) == 1


def test_what_failed_before_it_was_turned_on_is_not_told(instance: dg.DagsterInstance, hook: Hook) -> None:
    """Guards against a storm of old failures on the first day."""
    dg.materialize([fragile], instance=instance, raise_on_error=False)
    watch = Watch(instance, NotifySettings(hook.url))
    assert "0 run(s)" in watch.look()
    assert hook.posts == []


def test_a_run_of_the_command_line_is_told_by_the_command_line(
    watch: Watch, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a mail for each refused month of somebody's backfill, and against losing what came after it."""
    for _ in range(3):
        watch.run(fragile, tags={PID_TAG: "1"})
    mine = watch.run(fragile)
    monkeypatch.setattr("nba_ml.defs.sensors.failures._RUNS_A_LOOK", 2)
    watch.look()
    assert hook.posts == []
    watch.look()
    assert [sent["run_id"] for sent in hook.posts] == [mine]


def test_more_runs_than_a_look_takes_are_told_in_order(
    watch: Watch, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a failure that is passed over because many runs ended at once."""
    monkeypatch.setattr("nba_ml.defs.sensors.failures._RUNS_A_LOOK", 2)
    first = watch.run(fragile)
    watch.run(sound)
    watch.run(sound)
    last = watch.run(fragile)
    watch.look()
    assert [sent["run_id"] for sent in hook.posts] == [first]
    watch.look()
    assert [sent["run_id"] for sent in hook.posts] == [first, last]


def test_a_target_that_is_dead_for_a_day_is_given_up_visibly(
    watch: Watch, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a cursor that never moves again."""
    hook.answer = 500
    run_id = watch.run(fragile)
    with pytest.raises(NotifyError):
        watch.look()
    monkeypatch.setattr("nba_ml.defs.sensors.failures.GIVEN_UP_AFTER", 0)
    watch.look()
    run = watch.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags[f"{TOLD}webhook"] == "given up"


def test_without_a_target_it_is_off_and_with_one_it_is_on() -> None:
    """Guards against a webhook that was configured, and a switch that nobody knew of."""
    assert build_notifier(NotifySettings()).default_status is dg.DefaultSensorStatus.STOPPED
    assert build_notifier(NotifySettings("http://x")).default_status is dg.DefaultSensorStatus.RUNNING
    assert list(targets_of(NotifySettings("http://x", mail(25)))) == ["webhook", f"e-mail {LEAD}"]


# --- the settings ---------------------------------------------------------------------------------------------

MAIL = {"NBA_ML_NOTIFY_EMAIL": "a@x.org, b@x.org", "NBA_ML_SMTP_HOST": "smtp.x.org"}


def test_the_targets_are_read_from_the_environment() -> None:
    """Guards against a setting that is documented and ignored, and against plain text as the default."""
    assert Settings.from_environment({}).notify == NotifySettings()
    login = {"NBA_ML_SMTP_USER": USER, "NBA_ML_SMTP_PASSWORD": PASSWORD, "NBA_ML_SMTP_FROM": "ml@x.org"}
    urls = {"NBA_ML_NOTIFY_WEBHOOK": "https://h/x", "NBA_ML_UI_URL": "http://ui/"}
    assert Settings.from_environment({**MAIL, **login, **urls}).notify == NotifySettings(
        webhook="https://h/x",
        mail=MailSettings("smtp.x.org", 587, "starttls", USER, PASSWORD, "ml@x.org", ("a@x.org", "b@x.org")),
        ui_url="http://ui",
    )
    tls = Settings.from_environment({**MAIL, "NBA_ML_SMTP_SECURITY": "ssl"}).notify.mail
    assert tls == MailSettings("smtp.x.org", 465, "ssl", None, None, "a@x.org", ("a@x.org", "b@x.org"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"NBA_ML_NOTIFY_WEBHOOK": SECRET}, "NBA_ML_NOTIFY_WEBHOOK must be an address that begins with https://"),
        ({"NBA_ML_SMTP_HOST": ""}, "NBA_ML_SMTP_HOST is not"),
        ({"NBA_ML_NOTIFY_EMAIL": "a@x.org b"}, "NBA_ML_NOTIFY_EMAIL names a@x.org b"),
        ({"NBA_ML_SMTP_USER": USER}, "belong together"),
        ({"NBA_ML_SMTP_SECURITY": "tls"}, "NBA_ML_SMTP_SECURITY is 'tls'"),
        ({"NBA_ML_SMTP_PORT": "70000"}, "NBA_ML_SMTP_PORT is '70000'"),
        (
            {"NBA_ML_SMTP_SECURITY": "none", "NBA_ML_SMTP_USER": USER, "NBA_ML_SMTP_PASSWORD": PASSWORD},
            "the password would go over the network as it is",
        ),
    ],
)
def test_a_target_that_cannot_work_is_named_and_no_secret_is(changed: dict[str, str], said: str) -> None:
    """Guards against a first failure that nobody hears of because of a typing mistake in the settings."""
    with pytest.raises(SettingsError, match=re.escape(said)) as refused:
        Settings.from_environment({**MAIL, **changed})
    assert SECRET not in str(refused.value)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "http:///T0/B0",
        "https://[::1/hook",
        "https://hooks.example.com:port/T0",
        "https://hooks.example.com:99999/T0",
        "https://hooks..example.com/T0",
        "https://.example.com/T0",
        f"https://{'a' * 64}.example.com/T0",
        "https://hooks.example.com/T0 B0",
        "https://hooks.example.com/T0\nB0",
        "https://hooks.exämple.com/T0",
        "https://-/",
    ],
)
def test_an_invalid_address_is_refused_when_it_is_read(address: str) -> None:
    """Was an error at the first failure that should have been told, for an open bracket a traceback."""
    for name in ("NBA_ML_NOTIFY_WEBHOOK", "NBA_ML_UI_URL", "NBA_ML_NBA_API"):
        with pytest.raises(SettingsError, match=f"^{name} ") as refused:
            Settings.from_environment({name: address})
        assert address not in str(refused.value)


@given(st.from_regex(r"https?://[a-z0-9.:\[\]@_%-]{0,12}/?.{0,8}", fullmatch=True))
@example("https://user:word@hooks.example.com:8443/T0/B0?x=1#y")
@example("http://[::1]:8000/hook")
@example("http://127.0.0.1:8000/hook")
def test_whatever_address_is_accepted_can_be_asked(address: str) -> None:
    """Guards against an address that the settings take and the library refuses."""
    try:
        read = Settings.from_environment({"NBA_ML_NOTIFY_WEBHOOK": address}).notify.webhook
    except SettingsError:
        return
    requests.Request("POST", read).prepare()
