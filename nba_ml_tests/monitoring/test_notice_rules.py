"""The edges of the health rules and of the notices, on made-up facts: no server, and runs that were written by hand."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import requests

from nba_ml.contract.assets import PID_TAG
from nba_ml.contract.errors import NotifyError
from nba_ml.defs.sensors import failures
from nba_ml.defs.sensors.failures import GIVEN_UP_AFTER, TOLD, build_notifier, notice_of
from nba_ml.monitoring import notify
from nba_ml.monitoring.health import (
    Level,
    Release,
    SchedulerState,
    ServingModel,
    champion_not_too_old,
    no_month_left_failed,
    playing_days,
    retraining_ran,
    scheduler_runs,
    switched_on,
)
from nba_ml.monitoring.notify import Notice
from nba_ml.settings import MailSettings, NotifySettings
from nba_ml_tests.monitoring.test_health import LIMITS, MONTHS, at, refused, release

NOTICE = Notice("error", "a title", "what failed", "a step", job="a job", asset="an asset", month="2025-01", run_id="r")


# --- health ---------------------------------------------------------------------------------------------------


def test_the_first_failure_is_told_and_all_are_listed() -> None:
    failed = tuple(replace(refused(month), refused=False, said=f"said {month}") for month in ("2024-12", "2023-11"))
    found = no_month_left_failed(release(failed=failed, published=("2024-11",)))
    assert found.said == ("The last attempt at 2023-11, 2024-12 failed. gcs_artifact of 2023-11: said 2023-11")
    assert found.next_step.startswith("Open run rrrrrrrr in the UI")
    assert "--from 2023-11 --to 2024-12 --only-missing" in found.next_step
    assert found.worst[1] == {"month": "2023-11", "asset": "gcs_artifact", "run": "r" * 36, "said": "said 2023-11"}


def test_failed_months_are_in_order() -> None:
    """Guards the range that the next step makes again."""
    failed = tuple(replace(refused(month), refused=False) for month in reversed(MONTHS[:9]))
    found = no_month_left_failed(release(failed=failed))
    assert f"--from {MONTHS[0]} --to {MONTHS[8]} --only-missing" in found.next_step
    assert found.said.startswith(f"The last attempt at {MONTHS[0]}, {MONTHS[1]}, {MONTHS[2]}, ")


def test_refused_months_are_named_beside_what_failed_and_six_at_most() -> None:
    months = MONTHS[:8]
    old = tuple(refused(month) for month in months)
    found = no_month_left_failed(release(failed=old, published=tuple(MONTHS[-1:])))
    assert found.said == f"No failed months. Refused and skipped: {', '.join(months[:6])} and 2 more."
    found = no_month_left_failed(release(failed=old[:6], published=tuple(MONTHS[-1:])))
    assert found.said.endswith(f"{', '.join(months[:6])}.")
    both = (*old[:1], replace(refused("2024-12"), refused=False))
    assert no_month_left_failed(release(failed=both, published=tuple(MONTHS[-1:]))).said.endswith(
        f"Refused and skipped: {months[0]}."
    )
    found = no_month_left_failed(release(failed=tuple(reversed(old[:2])), published=tuple(MONTHS[-1:])))
    assert found.said.endswith(f"skipped: {months[0]}, {months[1]}."), "in the order of the months"
    newest = no_month_left_failed(release(failed=old[:1], published=tuple(months[:1])))
    assert newest.level is Level.RED
    assert "skipped" not in newest.said, "the newest month is refused, not passed over"
    assert no_month_left_failed(release()).said == "No failed months."
    assert no_month_left_failed(release(failed=old[:1])).level is Level.RED, "nothing is published"


def test_the_age_and_its_limit_are_said() -> None:
    found = champion_not_too_old(release(champion="2024-12-01"), at("2024-12-11"), LIMITS)
    assert found.said == "a_model was trained on games up to 2024-12-01, 10 playing days ago. The limit is 45."
    assert found.next_step == ""
    late = Release(MONTHS, (), {}, (), ServingModel("m", date(2024, 12, 1), at("2024-12-02")))
    evening = datetime(2024, 12, 12, 3, tzinfo=UTC)  # of the 11th in New York
    assert "10 playing days ago" in champion_not_too_old(late, evening, LIMITS).said


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [(date(2024, 6, 10), date(2024, 6, 30), 2), (date(2024, 6, 12), date(2024, 11, 5), 1),
     (date(2024, 9, 30), date(2024, 11, 6), 2), (date(2024, 12, 31), date(2025, 1, 1), 1),
     (date(2025, 1, 1), date(2025, 1, 1), 0), (date(2020, 3, 10), date(2020, 7, 29), 1)],
)  # fmt: skip
def test_days_without_new_rows_do_not_count(first: date, last: date, days: int) -> None:
    assert playing_days(first, last) == days


@pytest.mark.parametrize(("today", "level"), [("2025-01-07", Level.FINE), ("2025-01-08", Level.RED)])
def test_a_training_may_be_as_late_as_the_limit(today: str, level: Level) -> None:
    found = retraining_ran(release(trained={"2024-11": "2024-12-02"}), at(today), LIMITS)
    assert found.level is level
    if level is Level.FINE:
        assert found.said == "2024-11 was trained after its end. The latest training was on 2024-12-02."
        return
    assert found.said == "2024-12 ended 8 days ago and was never trained. The limit is 7 days."
    assert found.next_step.endswith("`nba-ml run --month 2024-12`.")


def test_the_latest_training_counts_and_one_on_the_last_day_does_not() -> None:
    trained = {"2024-11": "2025-01-03", "2024-12": "2025-01-05", "2025-01": "2025-01-04"}
    found = retraining_ran(release(trained=trained), at("2025-01-10"), LIMITS)
    assert found.said == "2024-12 was trained after its end. The latest training was on 2025-01-05."
    on_the_day = retraining_ran(release(trained={"2024-12": "2024-12-31"}), at("2025-01-10"), LIMITS)
    assert on_the_day.level is Level.RED
    assert "was last trained on 2024-12-31, before it ended" in on_the_day.said
    young = retraining_ran(release(months=["2025-01"]), at("2025-01-10"), LIMITS)
    assert young.said == "No month of the source is due yet. The first is 2025-01."


def test_a_heartbeat_may_be_as_old_as_the_limit() -> None:
    now = at("2025-01-10")
    beats: dict[str, datetime | None] = dict.fromkeys(("SENSOR", "SCHEDULER"), now - timedelta(minutes=30))
    assert scheduler_runs(SchedulerState(beats, {}, grows=True), now).said == "Dagster's daemon is running."
    beats = {"SENSOR": now - timedelta(minutes=31), "SCHEDULER": now - timedelta(minutes=40), "OTHER": None}
    found = scheduler_runs(SchedulerState(beats, {"a": True, "b": False}, grows=True), now)
    assert found.said == (
        "Dagster's daemon has not sent a heartbeat since 2025-01-10 16:29 UTC (SENSOR, SCHEDULER, OTHER). "
        "a are on but do not tick."
    )
    assert found.worst == [{"daemon": "SENSOR"}, {"daemon": "SCHEDULER"}, {"daemon": "OTHER"}]
    found = scheduler_runs(SchedulerState({"SENSOR": None}, {"b": False}, grows=True), now)
    assert found.said == "Dagster's daemon has never sent a heartbeat (SENSOR). Nothing that needs it is on."
    assert found.level is Level.WARNING


def test_switches_are_listed_in_order() -> None:
    assert switched_on(SchedulerState({}, {"b": True, "a": True, "d": False, "c": False}, grows=False)).said == (
        "On: a, b. Off: c, d."
    )
    assert switched_on(SchedulerState({}, {}, grows=False)).said == "On: none. Off: none."


# --- a notice -------------------------------------------------------------------------------------------------


def test_a_notice_as_text_leaves_out_what_does_not_apply() -> None:
    assert NOTICE.text == (
        "a title\n\nwhat failed\n\nWhat to do: a step\n\nAsset: an asset\nMonth: 2025-01\nJob: a job\nRun: r"
    )


class Answer:
    """What the webhook answers, without a server. Closes like a response."""

    def __init__(self, code: int, **headers: str) -> None:
        self.status_code, self.headers = code, headers

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "taken"), [(199, False), (200, True), (204, True), (299, True), (300, False), (404, False)]
)
def test_any_success_is_a_delivery_and_nothing_else(monkeypatch: pytest.MonkeyPatch, code: int, taken: bool) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(requests, "post", lambda url, **named: given.update(url=url, **named) or Answer(code))
    found = notify.post("https://h.example/secret", NOTICE)
    assert found == (None if taken else f"the webhook at h.example answered {code}")
    assert (given["url"], given["timeout"], given["allow_redirects"]) == ("https://h.example/secret", 10.0, False)
    assert given["stream"] is True
    assert given["json"]["text"] == NOTICE.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (requests.Timeout(), "the webhook at h did not answer within 10 s"),
        (requests.exceptions.SSLError(), "the certificate of the webhook at h is not trusted"),
        (requests.ConnectionError("https://h/secret"), "the webhook at h cannot be reached (ConnectionError)"),
    ],
)
def test_each_failure_of_a_webhook_has_its_reason(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    """Guards against a failure that looks delivered, and against the webhook's secret in it."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(requests, "post", fail)
    assert notify.post("https://h/secret", NOTICE) == said


def test_a_wait_is_passed_on_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(429, **{"Retry-After": "x" * 30})
    monkeypatch.setattr(requests, "post", lambda *_, **__: answer)
    assert notify.post("https://h/", NOTICE) == f"the webhook at h answered 429; retry after {'x' * 20}"


MAIL = MailSettings("smtp.x", 25, "none", None, None, "ml@x.org", ("lead@x.org",))


@pytest.mark.parametrize(
    ("error", "within", "said"),
    [
        (smtplib.SMTPConnectError(421, b"busy"), 10, "refused (421)"),
        (smtplib.SMTPAuthenticationError(535, b"no"), 10, "rejects the user or the password (535)"),
        (TimeoutError(), 10, "did not answer within 10 s"),
        (smtplib.SMTPServerDisconnected("lost"), 0, "did not answer within 0 s"),
        (smtplib.SMTPServerDisconnected("lost"), 10, "cannot be reached (SMTPServerDisconnected)"),
        (smtplib.SMTPRecipientsRefused({"lead@x.org": (550, b"")}), 10, "does not deliver to lead@x.org (550)"),
    ],
)
def test_each_failure_of_a_mail_server_has_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception, within: float, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(notify, "_connected", fail)
    assert notify.send(MAIL, "lead@x.org", NOTICE, within) == f"the mail server smtp.x:25 {said}"


def test_a_mails_headers_are_short_and_of_no_time_zone() -> None:
    """Guards against a subject that a server cuts or refuses, and a date that tells where the machine is."""
    message = notify._message(MAIL, "lead@x.org", replace(NOTICE, title="x" * 300))
    assert message["Subject"] == f"[nba_ml] {'x' * 191}"
    assert message["Date"].endswith(" -0000")
    assert message["Auto-Submitted"] == "auto-generated", "out-of-office replies"


def test_a_connection_by_tls_verifies_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []
    for name in ("SMTP", "SMTP_SSL"):
        monkeypatch.setattr(smtplib, name, lambda *args, _name=name, **named: given.append((_name, args, named)))
    trusted = ssl.create_default_context()
    notify._connected(replace(MAIL, security="ssl"), trusted, 3)
    notify._connected(MAIL, trusted, 3)
    assert given == [
        ("SMTP_SSL", ("smtp.x", 25), {"timeout": 3, "context": trusted}),
        ("SMTP", ("smtp.x", 25), {"timeout": 3}),
    ]


def test_what_is_left_of_the_time_limits_each_answer() -> None:
    server = smtplib.SMTP()
    notify._limit_timeout(server, time.monotonic() + 5)  # not connected: there is nothing to limit
    with socket.socket() as server.sock:
        notify._limit_timeout(server, time.monotonic() + 5)
        assert 0 < (server.sock.gettimeout() or 0) <= 5
        notify._limit_timeout(server, time.monotonic() + 0.5)
        assert 0 < (server.sock.gettimeout() or 0) <= 0.5
        with pytest.raises(TimeoutError):
            notify._limit_timeout(server, time.monotonic() - 1)


# --- the sensor -----------------------------------------------------------------------------------------------

KINDS = {
    dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
}


@dg.op
def nothing() -> None:
    """Does nothing: only its job's runs are of interest."""


@dg.job
def some_job() -> None:
    nothing()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def ended(instance: dg.DagsterInstance, *, failed: bool = True, partition: str = "", **tags: str) -> str:
    """A run that ended, as Dagster's log has it."""
    given = {**tags, **({"dagster/partition": partition} if partition else {})}
    run = instance.create_run_for_job(some_job, tags=given)
    status = dg.DagsterRunStatus.FAILURE if failed else dg.DagsterRunStatus.SUCCESS
    event = dg.DagsterEvent(KINDS[status].value, job_name="some_job")
    instance.report_dagster_event(event, run_id=run.run_id)
    return run.run_id


class Ticks:
    """The sensor with its cursor, and targets that note what they get, or are `broken`."""

    def __init__(self, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.instance, self.broken = instance, set[str]()
        self.cursor: str | None = None
        self.told: list[tuple[str, str]] = []
        targets = {name: self.target(name) for name in names}
        monkeypatch.setattr(failures, "targets_of", lambda _: targets)

    def target(self, name: str) -> Any:
        def deliver(notice: Notice) -> str | None:
            self.told.append((name, notice.run_id))
            return f"{name} is out of order" if name in self.broken else None

        return deliver

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        skipped = build_notifier(NotifySettings())(context)
        self.cursor = context.cursor
        assert isinstance(skipped, dg.SkipReason)
        return str(skipped.skip_message)


def test_each_target_is_told_once_and_a_broken_one_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(instance, monkeypatch, "one", "two")
    ended(instance)
    assert ticks.tick().startswith("From now on")
    first, _, second = ended(instance), ended(instance, failed=False), ended(instance)
    ticks.broken.add("one")
    for tries in (1, 2):
        with pytest.raises(NotifyError, match=r"got the notice\. one: one is out of order\. The others"):
            ticks.tick()
        assert ticks.told.count(("one", first)) == tries
    assert [told for told in ticks.told if told[0] == "two"] == [("two", first), ("two", second)]
    assert ("one", second) not in ticks.told, "one failure is enough for a tick"
    ticks.broken.clear()
    assert ticks.tick() == "3 run(s) ended since the last tick, 2 to report."
    assert ticks.told[-2:] == [("one", first), ("one", second)]
    assert ticks.tick() == "0 run(s) ended since the last tick, 0 to report."
    run = instance.get_run_by_id(first)
    assert run is not None
    assert {tag: run.tags[tag] for tag in run.tags if tag.startswith(TOLD)} == dict.fromkeys(
        (f"{TOLD}log", f"{TOLD}one", f"{TOLD}two"), "yes"
    )


def test_what_ended_before_it_was_turned_on_is_not_reported(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against old failures in the mailbox when the sensor is turned on."""
    ticks = Ticks(instance, monkeypatch, "one")
    for failed in (True, False, True):
        ended(instance, failed=failed)
    ticks.tick()
    assert ticks.tick() == "0 run(s) ended since the last tick, 0 to report."
    assert ticks.told == []


@pytest.mark.parametrize(("hours", "given_up"), [(23, False), (25, True)])
def test_a_target_is_given_up_after_a_day(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, hours: int, given_up: bool
) -> None:
    ticks = Ticks(instance, monkeypatch, "one")
    ticks.tick()
    run_id, now = ended(instance), time.time()
    monkeypatch.setattr(time, "time", lambda: now + hours * 3600)
    assert "1 to report" in ticks.tick()
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags[f"{TOLD}one"] == ("given up" if given_up else "yes")
    assert ticks.told == ([] if given_up else [("one", run_id)])
    assert (GIVEN_UP_AFTER, failures._LOOKS_EVERY) == (86_400, 30)


def test_so_many_runs_are_looked_at_and_the_oldest_first(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failures._RUNS_A_LOOK == 50
    monkeypatch.setattr(failures, "_RUNS_A_LOOK", 5)
    ticks = Ticks(instance, monkeypatch, "one")
    ticks.tick()
    assert ticks.cursor == "0", "no run has ended yet"
    runs = [ended(instance) for _ in range(3)]
    for _ in range(6):
        ended(instance, failed=False)
    runs.append(ended(instance))
    assert ticks.tick() == "5 run(s) ended since the last tick, 3 to report."
    assert [run for _, run in ticks.told] == runs[:3]
    assert ticks.tick() == "5 run(s) ended since the last tick, 1 to report.", "the four of one kind that were left"
    assert [run for _, run in ticks.told] == runs


@pytest.mark.parametrize(
    ("asset", "job", "command"),
    [
        ("slate_predictions", "any", "nba-ml slate predict --date 2025-01`"),
        ("", "slate", "nba-ml slate predict --date 2025-01`"),
        ("slate_grades", "any", "nba-ml slate grade --month 2025-01`"),
        ("", "slate_grading", "nba-ml slate grade --month 2025-01`"),
        ("champion", "any", "nba-ml champion promote`"),
        ("rollout", "any", "nba-ml rollout advance`"),
        ("train_split", "slate", "nba-ml backfill --only-missing`"),
        ("", "any", "nba-ml backfill --only-missing`"),
    ],
)
def test_the_next_step_makes_what_the_run_did_not(asset: str, job: str, command: str) -> None:
    assert failures._goes_on(dg.DagsterRun(job_name=job), asset, "2025-01").startswith(f"`{command}")
    config = {"ops": {"slate_predictions": {"config": {"to_bigquery": True}}}}
    to_bigquery = failures._goes_on(dg.DagsterRun(job_name=job, run_config=config), asset, "2025-01")
    assert ("--date 2025-01 --to-bigquery`" in to_bigquery) is ("--date" in command)


def test_what_a_notice_says_of_a_run(instance: dg.DagsterInstance) -> None:
    found = notice_of(instance, ended(instance, partition="2025-01"), "http://ui")
    assert found is not None
    assert (found.level, found.title, found.said) == (
        "error", "some_job of 2025-01 failed", "The run failed outside of its steps.",
    )  # fmt: skip
    assert (found.job, found.asset, found.month, found.day) == ("some_job", "", "2025-01", "")
    assert found.link == f"http://ui/runs/{found.run_id}"
    day = notice_of(instance, ended(instance, partition="2025-01-15"), None)
    assert day is not None
    assert (day.month, day.day, day.link) == ("", "2025-01-15", "")
    plain = notice_of(instance, ended(instance), None)
    assert plain is not None
    assert plain.title == "some_job failed"
    assert plain.next_step.endswith("`nba-ml backfill --only-missing` goes on.")
    assert notice_of(instance, ended(instance, failed=False), None) is None
    assert notice_of(instance, ended(instance, **{PID_TAG: "1"}), None) is None  # type: ignore[arg-type]
    assert notice_of(instance, ended(instance, **{"dagster/will_retry": "true"}), None) is None  # type: ignore[arg-type]
    assert notice_of(instance, "no such run", None) is None


def test_a_failed_step_names_its_asset_and_its_error(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def fragile() -> None:
        raise RuntimeError("no rows")

    run = dg.materialize([fragile], instance=instance, raise_on_error=False)
    found = notice_of(instance, run.run_id, None)
    assert found is not None
    assert (found.asset, found.title, found.said) == ("fragile", "fragile failed", "no rows")


def test_an_error_is_told_and_not_a_check_that_stopped_nothing(instance: dg.DagsterInstance) -> None:
    """Guards the reason of a failed run: a failed check of an asset before it hid the error of the step."""

    @dg.asset
    def watched() -> int:
        return 1

    @dg.asset_check(asset=watched)
    def small() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="1 is small")

    @dg.asset(deps=[watched])
    def fragile() -> None:
        raise RuntimeError("no rows")

    made = dg.Definitions(assets=[watched, fragile], asset_checks=[small], executor=dg.in_process_executor)
    run = made.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
    assert [each.passed for each in run.get_asset_check_evaluations()] == [False]
    found = notice_of(instance, run.run_id, None)
    assert found is not None
    assert (found.title, found.said) == ("fragile failed", "no rows")


@pytest.mark.parametrize("config", [{}, None, {"ops": None}, {"ops": {"slate_predictions": {"config": 3}}}])
def test_a_run_without_that_setting_goes_nowhere(config: Any) -> None:
    assert not failures._to_bigquery(config)
    assert failures._to_bigquery({"ops": {"slate_predictions": {"config": {"to_bigquery": True}}}})


def check_failed(instance: dg.DagsterInstance, run_id: str, asset: str, name: str) -> None:
    result = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset), check_name=name, passed=False, severity=dg.AssetCheckSeverity.ERROR,
        description=f"{name} failed",
    )  # fmt: skip
    event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", job_name="some_job", event_specific_data=result)
    instance.report_dagster_event(event, run_id=run_id)


def test_a_refused_model_is_an_error_although_its_run_is_green(instance: dg.DagsterInstance) -> None:
    """Guards the notice of a month that was not published: its run does not fail."""
    run_id = ended(instance, failed=False, partition="2025-01")
    check_failed(instance, run_id, "xgboost_model", "beats_season_average")
    check_failed(instance, run_id, "gcs_artifact", "published")
    found = notice_of(instance, run_id, None)
    assert found is not None
    assert (found.level, found.asset, found.month) == ("error", "gcs_artifact", "2025-01")
    assert found.title == "The model of 2025-01 was refused and is not published"
    assert found.said.splitlines()[0] == "xgboost_model.beats_season_average: beats_season_average failed"


def test_failed_checks_of_a_green_run_are_a_warning(instance: dg.DagsterInstance) -> None:
    run_id = ended(instance, failed=False, partition="2025-01")
    for asset, passed, severity in (
        ("a", False, dg.AssetCheckSeverity.ERROR), ("a", True, dg.AssetCheckSeverity.ERROR),
        ("b", False, dg.AssetCheckSeverity.WARN), ("c", False, dg.AssetCheckSeverity.ERROR),
    ):  # fmt: skip
        result = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset), check_name=f"{severity}{passed}", passed=passed, severity=severity,
            description=f"{asset} is wrong",
        )  # fmt: skip
        event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", job_name="some_job", event_specific_data=result)
        instance.report_dagster_event(event, run_id=run_id)
    found = notice_of(instance, run_id, None)
    assert found is not None
    assert (found.level, found.asset, found.month) == ("warning", "a, c", "2025-01")
    assert found.title == "2 check(s) on a, c of 2025-01 failed in a run that is green"
    assert [line.partition(": ")[2] for line in found.said.splitlines()] == ["a is wrong", "c is wrong"]
