"""`nba-ml champion` and `nba-ml rollout`: which model serves, from the terminal.

What belongs here: options, output, tables. The operations are in `registry`. None of them loads Dagster, so a
rollback takes less time than loading the graph would.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nba_ml.cli.wrapper import command, say
from nba_ml.contract.errors import PublicationError, ReleaseError
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.registry.channel import Channel, Evidence
    from nba_ml.registry.moves import MoveResult
    from nba_ml.registry.release_context import ReleaseContext
    from nba_ml.storage.objects import ObjectStore

NOT_DONE = 1
"""Exit code: the command worked and changed nothing."""

_NO_CHAMPION = "There is no champion yet. `nba-ml champion promote` makes the latest published model the first."

_REASON = click.option("--reason", metavar="TEXT", help="Why, in a sentence. It stays in the channel's history.")
_FROM_SERIAL = click.option(
    "--from-serial",
    metavar="N",
    type=click.IntRange(0),
    help="Only move the channel from state N, so that a repeated command does nothing. Default: the current state.",
)
_UNTIL = click.option(
    "--until", metavar="YYYY-MM-DD", help="Count games up to this date, inclusive. Default: all that are graded."
)


@click.group()
def champion() -> None:
    """Which published model serves: show, promote, roll back, history."""


@champion.command()
@command
def show() -> int:
    """Show the champion, the challenger with its share, and the reason for the last change.

    The exit code is 1 if there is no champion, or if the history has a later state than workers see.
    """
    from nba_ml.registry.channel import read_channel

    objects = _objects()
    state = read_channel(objects)
    if state is None:
        say(_NO_CHAMPION)
        return NOT_DONE
    _print_state(state)
    return 0 if _is_newest(objects, state) else NOT_DONE


@champion.command()
@click.argument("model_id", required=False)
@_REASON
@click.option(
    "--waive",
    "waived",
    metavar="CONDITION",
    multiple=True,
    help="Waive one condition: newer, not_set_aside, grade or bias. Needs --reason. May be repeated.",
)
@_FROM_SERIAL
@command
def promote(model_id: str | None, reason: str | None, waived: tuple[str, ...], from_serial: int | None) -> int:
    """Make a published or registered model the champion, if it meets the conditions.

    Without MODEL_ID, the latest published model. It must have been given later games than the champion, and must not be
    worse by more than the margin on games that neither was trained on. A registered model must also pass its backtest
    on stored rows. With a MODEL_ID and a --reason, an older model is accepted.
    The exit code is 1 if the champion does not change.
    """
    from nba_ml.registry.promotion import promote as propose

    with _asked_for_again():
        done = propose(_release_context(), datetime.now(UTC), model_id, reason, waived, from_serial)
    say(done.message)
    if done.decision is not None and done.decision.evidence is not None:
        _print_evidence(done.decision.evidence)
    return 0 if done.moved or done.decision is None else NOT_DONE


@champion.command()
@click.option("--to", metavar="MODEL_ID", help="An earlier champion. Default: the one before. Needed after a rollback.")
@_REASON
@_FROM_SERIAL
@command
def rollback(to: str | None, reason: str | None, from_serial: int | None) -> int:
    """Make the previous champion serve again, alone and immediately.

    To go further back after a rollback, name the model with --to. The model that is rolled back from is set aside: it
    is promoted again only by name, with a reason. A rollout in progress ends.
    """
    from nba_ml.registry.rollback import rollback as go_back

    with _asked_for_again():
        done = go_back(_objects(), datetime.now(UTC), _given(reason), to, from_serial)
    _report_other_moves(done)
    state = done.serving
    if state is not None:
        word = (
            "serves now"
            if done.moved and done.later is None
            else "serves already"
            if done.already is None
            else "serves"
        )
        say(f"{state.champion.model_id} {word} (serial {state.serial}).")
    return 0


@champion.command()
@click.option("--newest", default=20, show_default=True, type=click.IntRange(1), help="How many states to show.")
@command
def history(newest: int) -> int:
    """List the states of the channel, newest last."""
    from nba_ml.registry.channel import read_history

    states = read_history(_objects(), newest)
    if not states:
        say(_NO_CHAMPION)
    for state in states:
        beside = f", beside it {_challenger(state)}" if state.challenger else ""
        say(f"{state.serial:4}  {_moment(state)}  {state.kind}: {state.champion.model_id}{beside}")
        say(f"      {state.reason}")
    return 0


@click.group()
def rollout() -> None:
    """Give a challenger 0 (shadow), 10, 50, then 100 percent of the slate, or stop it."""


@rollout.command()
@click.argument("model_id")
@_REASON
@click.option("--graded-from", metavar="YYYY-MM-DD", help="First game date it is judged on. Default: today.")
@click.option(
    "--share",
    type=click.Choice(["0", "10"]),
    default="0",
    show_default=True,
    help="Percent of the player-games that it serves from now on.",
)
@_FROM_SERIAL
@command
def start(model_id: str, reason: str | None, graded_from: str | None, share: str, from_serial: int | None) -> int:
    """Start a rollout of MODEL_ID in shadow (scored and graded, not served), or at 10% with --share 10.

    MODEL_ID is a published model, a registered CatBoost, or a rule to compare with: mock, moving_average. A hash, the
    same in every worker, decides which player-games it serves. `rollout advance` takes it from 0 to 10 if its grades
    allow. With --share 10 a registered model must pass its backtest on stored rows first.
    """
    from nba_ml.registry.rollout import FirstShare, rollout_start
    from nba_ml.registry.systems.catboost_v8 import EXTRA, SYSTEM_ID

    first: FirstShare = 10 if share == "10" else 0
    with _asked_for_again():
        done = rollout_start(
            _release_context(), model_id, datetime.now(UTC), _given(reason), _day(graded_from), from_serial, first
        )
    _report_other_moves(done)
    state = done.serving
    if state is not None:
        _print_state(state)
        if state.challenger is not None and state.challenger.system_id == SYSTEM_ID:
            say(
                f"It is a CatBoost: workers without the extra '{EXTRA}' refuse it, and refuse to start while it has a "
                "share."
            )
    return 0


@rollout.command()
@_UNTIL
@_FROM_SERIAL
@command
def advance(until: str | None, from_serial: int | None) -> int:
    """Take the next step if the grades allow it; stop the rollout if they are too bad.

    After 100% the challenger becomes the champion. The exit code is 1 if nothing changed, or if the challenger went
    back to 0.
    """
    from nba_ml.registry.rollout import rollout_advance

    with _asked_for_again():
        status, done = rollout_advance(_release_context(), datetime.now(UTC), _day(until), from_serial)
    _report_other_moves(done)
    say(f"{status.step.action}: {status.step.reason}.")
    if done.serving is not None:
        _print_state(done.serving)
    return 0 if (done.moved or done.already) and status.step.action == "advance" else NOT_DONE


@rollout.command()
@_REASON
@click.option("--forget", is_flag=True, help="Also remove the challenger from shadow.")
@_FROM_SERIAL
@command
def stop(reason: str | None, forget: bool, from_serial: int | None) -> int:
    """Set the challenger's share to 0 immediately. It stays in shadow: scored, graded, not served."""
    from nba_ml.registry.rollback import rollout_stop

    with _asked_for_again():
        done = rollout_stop(_objects(), datetime.now(UTC), _given(reason), forget=forget, from_serial=from_serial)
    _report_other_moves(done)
    if done.serving is not None:
        _print_state(done.serving)
    return 0


@rollout.command()
@_UNTIL
@command
def status(until: str | None) -> int:
    """Compare champion and challenger on the games since the last step, and show what advance would do."""
    from nba_ml.registry.rollout import rollout_status

    context = _release_context()
    found = rollout_status(context, _day(until))
    _print_state(found.channel)
    _is_newest(context.objects, found.channel)
    if found.evidence is not None:
        _print_evidence(found.evidence)
    say(f"{found.step.action}: {found.step.reason}.")
    return 0


@rollout.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--given-until", metavar="YYYY-MM-DD", required=True, help="The last game date of all rows it was given.")
@click.option(
    "--fitted-until",
    metavar="YYYY-MM-DD",
    help="The last game date used for fitting or early stopping, if later rows were held out.",
)
@command
def register(file: Path, given_until: str, fitted_until: str | None) -> int:
    """Register a CatBoost FILE (.cbm), so that it can be compared and rolled out.

    It must have the contract's 33 features, by name and in order. The two dates cannot be checked: games up to them are
    never used to grade it. Its interval is calibrated on the rows between the two dates, if the store has 500;
    otherwise it has none. Needs the extra nba_ml[catboost].
    """
    from nba_ml.registry.registration import register as put
    from nba_ml.registry.systems.interface import TrainingExtent

    given = _day(given_until)
    fitted = _day(fitted_until) or given
    if given is None or fitted is None:
        raise click.UsageError("--given-until needs a date.")
    today = datetime.now(UTC).date()
    if given > today:
        raise click.UsageError(
            f"--given-until {given} is in the future. Today is {today} (UTC): give the date of the last game that the "
            "model was given."
        )
    model = put(_release_context(), file.read_bytes(), TrainingExtent(fitted, given))
    say(
        f"Registered as {model.model_id}. `nba-ml rollout start {model.model_id}` scores and grades it beside the "
        f"champion without serving. Before it serves, it must meet conditions on stored games after {given}. That date "
        "cannot be checked: if it is too early, the model is graded on games that it was trained on."
    )
    return 0


@rollout.command()
@click.argument("model_ids", nargs=-1, required=True)
@click.option("--month", metavar="YYYY-MM", required=True, help="A month that none of them was given.")
@command
def compare(model_ids: tuple[str, ...], month: str) -> int:
    """Score a month with several systems in shadow, and grade each against the first, on the same rows.

    MODEL_IDS are published models, registered CatBoosts, mock or moving_average. For a registered model it also shows
    the conditions that it must meet before it serves, measured on all stored games after the last it was given.
    """
    from nba_ml.evaluation.compare import backtests, shadow_month

    context = _release_context()
    for grade in shadow_month(context, month, model_ids).systems:
        metrics, interval = grade.metrics, grade.gain_interval
        say(
            f"MAE {metrics.mae:.3f}  bias {metrics.bias:+.2f}  gain {grade.gain:+.3f} (95%: {interval.low:+.3f} to "
            f"{interval.high:+.3f})  {metrics.n:,} rows  {grade.model_version}"
        )
    for found in backtests(context, model_ids):
        say(f"{found.model} {'may serve' if found.passed else 'may not serve'}, by all stored rows after its training:")
        for condition in found.conditions:
            say(f"  {'met' if condition.met else 'NOT MET':8}{condition.name}: {condition.detail}")
    return 0


def _objects() -> ObjectStore:
    from nba_ml.storage.opening import open_objects

    return open_objects(Settings.from_environment().artifact_root)


def _release_context() -> ReleaseContext:
    from nba_ml.registry.release_context import ReleaseContext
    from nba_ml.storage.months import MonthStore
    from nba_ml.storage.opening import open_objects

    settings = Settings.from_environment()
    store = MonthStore(open_objects(settings.store))
    return ReleaseContext(open_objects(settings.artifact_root), store, settings.thresholds, settings.threads)


@contextmanager
def _asked_for_again() -> Iterator[None]:
    """If the outcome of a move is uncertain, add to its error the exact command that is safe to repeat."""
    from nba_ml.registry.moves import UnfinishedMoveError

    try:
        yield
    except UnfinishedMoveError as error:
        given = dict(click.get_current_context().params)
        given |= {} if error.from_serial is None else {"from_serial": error.from_serial}
        if error.wanted is not None and error.wanted.kind == "promote":
            given["model_id"] = error.wanted.champion.model_id  # not whichever is the latest by then
        raise PublicationError(
            f"{error} Then run exactly this command, which moves the channel at most once: {_command_with(given)}"
        ) from error


def _command_with(given: Mapping[str, Any]) -> str:
    """The command that is running, with these values for its parameters, as a shell takes it."""
    context = click.get_current_context()
    words = ["nba-ml", *context.command_path.split()[1:]]  # the first is however it was started
    for parameter in context.command.params:
        value = given.get(parameter.name or "")
        if value is None or value is False:
            continue
        named = isinstance(parameter, click.Option)
        for each in value if isinstance(value, tuple) else (value,):
            words += [*([parameter.opts[0]] if named else []), *([] if each is True else [str(each)])]
    return shlex.join(words)


def _report_other_moves(done: MoveResult) -> None:
    from nba_ml.registry.repeatable import describe_move

    if done.caught_up_to is not None:
        say(done.catch_up_note)
    if done.already is not None:
        say(f"Already done: serial {done.already.serial} is the {describe_move(done.already)}. Nothing was moved.")
    passed = done.already or (done.channel if done.later is not None else None)
    if passed is not None and done.serving is not None and done.serving.serial > passed.serial:
        say(f"The channel has moved since: serial {done.serving.serial}, {describe_move(done.serving)}.")


def _is_newest(objects: ObjectStore, state: Channel) -> bool:
    """Whether the history ends with what the pointer holds; says so if not."""
    from nba_ml.registry.channel import newest_state_ahead
    from nba_ml.registry.moves import why_not_applied

    ahead = newest_state_ahead(objects, state)
    if ahead is None:
        return True
    stuck = why_not_applied(objects, state, ahead)
    if stuck:
        say(stuck)
        return False
    say(
        f"The history is ahead of this: it ends with serial {ahead.serial}, {ahead.kind} of "
        f"{ahead.champion.model_id}. Another process is moving the channel, a move was interrupted, or an old copy of "
        "the pointer was restored. The next move, such as `nba-ml champion promote`, starts from that state."
    )
    return False


def _given(reason: str | None) -> str:
    if reason is None:
        raise ReleaseError("Give a --reason: it is kept in the channel's history.")
    return reason


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"'{text}' is no date. Give it as YYYY-MM-DD.") from error


def _print_state(state: Channel) -> None:
    rows = {
        "champion": state.champion.model_id,
        "challenger": _challenger(state),
        "serial": f"{state.serial}, {_moment(state)} UTC by {state.kind}",
        "because": state.reason,
        "before it": state.earlier[0].model_id if state.earlier else "none",
    }
    for name, value in rows.items():
        say(f"{name:11}{value}")


def _challenger(state: Channel) -> str:
    if state.challenger is None:
        return "none"
    marked = " (the mock, no model)" if state.challenger.is_mock else ""
    return f"{state.challenger.model_id}{marked} at {state.share}%{'' if state.share else ', in shadow'}"


def _moment(state: Channel) -> str:
    return f"{state.moved_at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _print_evidence(evidence: Evidence) -> None:
    for side, model, mae, bias in (
        (
            "beside" if evidence.champion == "season_average" else "champion",
            evidence.champion,
            evidence.champion_mae,
            evidence.champion_bias,
        ),
        ("candidate", evidence.candidate, evidence.candidate_mae, evidence.bias),
    ):
        say(f"{side:11}MAE {mae:.3f}  bias {bias:+.2f}  {model}")
    say(
        f"{'gain':11}{evidence.gain:+.3f} (95%: {evidence.low:+.3f} to {evidence.high:+.3f}) on {evidence.rows:,} "
        f"games of {evidence.days} days, {evidence.first} to {evidence.last}"
    )
