"""`nba-ml health`: the standing checks from outside of Dagster, for a cron that does not die with its daemon.

What belongs here: options, output, the exit code. The facts come from `defs.health`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from nba_ml.cli.wrapper import FAILED, command, out, say
from nba_ml.contract.errors import NbaMlError, SettingsError
from nba_ml.monitoring.health import HealthFinding, Level
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.monitoring.notify import Notice, Target

_COLOURS = {"fine": "green", "warning": "yellow", "red": "red"}


@click.command(short_help="Check the health of the release.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--notify", is_flag=True, help="Send red findings to the configured targets; nothing if there are none.")
@click.option("--test", is_flag=True, help="Send the configured targets a test message.")
@command
def health(as_json: bool, notify: bool, test: bool) -> int:
    """Check the health of the release: failed months, the champion's age, retraining, slates, the daemon.

    Read-only: safe to run while other commands work on the home. Run it from your own cron, on this machine or another:
    a check inside Dagster stops when Dagster's daemon stops.

    \b
    Exit code 0: fine (warnings are allowed)
              1: something is red
              2: the health could not be determined
    """
    settings = Settings.from_environment()
    targets = _targets(settings) if notify or test else {}
    told = _tell(targets, _test_message()) if test else {}
    try:
        findings = _look(settings)
    except NbaMlError as error:
        if notify:
            message = f"The health of the release could not be determined. {error}"
            _tell(targets, _bad_news([HealthFinding("health", Level.RED, message)]))
        raise
    red = [each for each in findings if each.level == "red"]
    if notify and red:
        told |= _tell(targets, _bad_news(red))
    if as_json:
        notified = {"notified": told} if targets else {}
        click.echo(json.dumps({"healthy": not red, "findings": [asdict(each) for each in findings], **notified}))
    else:
        for each in findings:
            step = f" {each.next_step}" if each.next_step else ""
            out.print(f"[{_COLOURS[each.level]}]{each.level:8}[/] {each.name}", end=": ")
            say(f"{each.said}{step}")
        for name, why in told.items():
            say(f"{name}: {why or 'sent'}")
    return FAILED if red or any(told.values()) else 0


def _look(settings: Settings) -> tuple[HealthFinding, ...]:
    from nba_ml.defs.build import build_defs
    from nba_ml.defs.health import (
        judge_release,
        judge_scheduler,
        read_release,
        read_scheduler,
        slates_on_since,
    )
    from nba_ml.defs.partitions import month_keys, partitions_of
    from nba_ml.defs.resources import slate_rows_of
    from nba_ml.monitoring.health import channel_signature
    from nba_ml.registry.channel import CHAMPION
    from nba_ml.registry.signed_store import SignedStore, open_published
    from nba_ml.runner.home import open_instance
    from nba_ml.slates.health import read_slate_days
    from nba_ml.slates.health_rules import slates_made
    from nba_ml.slates.store import SlateStore
    from nba_ml.storage.opening import open_objects

    if not settings.dagster_home.is_dir():
        # Opening it would create it, and a mistyped path would then look like a home without any runs.
        raise SettingsError(f"{settings.dagster_home} does not exist. Set NBA_ML_HOME (or DAGSTER_HOME) to the home.")
    now = datetime.now(UTC)
    objects = open_published(settings.artifact_root, settings.signing)
    with open_instance(settings) as instance:
        release = read_release(instance, objects, month_keys(partitions_of(settings)), settings.systems)
        slates = read_slate_days(
            slates_on_since(instance), slate_rows_of(settings), SlateStore(open_objects(settings.store)), now
        )
        scheduler = read_scheduler(instance, build_defs(settings), grows=settings.bigquery is not None)
    signature = [channel_signature(objects.expires(CHAMPION), now)] if isinstance(objects, SignedStore) else []
    return (
        *judge_release(release, now, settings.thresholds),
        *signature,
        slates_made(slates, now),
        *judge_scheduler(scheduler, now),
    )


def _targets(settings: Settings) -> Mapping[str, Target]:
    """Where to send notices. No target is an error of the cron job, so it is raised before any check runs."""
    from nba_ml.monitoring.notify import targets_of

    targets = targets_of(settings.notify)
    if not targets:
        raise SettingsError(
            "No target is configured: set NBA_ML_NOTIFY_WEBHOOK, or NBA_ML_NOTIFY_EMAIL with NBA_ML_SMTP_HOST."
        )
    return targets


def _test_message() -> Notice:
    from nba_ml.monitoring.notify import Notice

    return Notice(
        "warning", "nba-ml health: a test message", "This is a test of this target.", "Nothing: the message arrived."
    )


def _bad_news(red: list[HealthFinding]) -> Notice:
    from nba_ml.monitoring.notify import Notice

    return Notice(
        level="error",
        title=f"nba-ml health: {', '.join(each.name for each in red)}",
        said="\n".join(f"{each.name}: {each.said}" for each in red),
        next_step=" ".join(each.next_step for each in red),
    )


def _tell(targets: Mapping[str, Target], notice: Notice) -> dict[str, str]:
    """Target -> why the notice could not be sent, '' if it was."""
    return {name: deliver(notice) or "" for name, deliver in targets.items()}
