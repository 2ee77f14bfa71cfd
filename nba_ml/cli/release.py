"""Common to `nba-ml champion` and `nba-ml rollout`: their options, what they open, and how a state is printed.

The operations are in `registry`. A move is made without Dagster, so a rollback takes less time than loading the graph
would. It is then recorded in the home's Dagster instance, if there is one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from nba_ml.cli.recording import move_recorder
from nba_ml.cli.wrapper import day_option, say
from nba_ml.contract.errors import PublicationError, ReleaseError
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.registry.channel import Channel, Evidence
    from nba_ml.registry.moves import MoveResult
    from nba_ml.registry.release_context import ReleaseContext
    from nba_ml.storage.objects import ObjectStore

NO_CHAMPION = "There is no champion yet. `nba-ml champion promote` makes the latest published model the first."

REASON = click.option("--reason", metavar="TEXT", help="Why, in a sentence. It stays in the channel's history.")
FROM_SERIAL = click.option(
    "--from-serial",
    metavar="N",
    type=click.IntRange(0),
    help="Only move the channel from state N, so that a repeated command does nothing. Default: the current state.",
)
BEAT = click.option(
    "--beat",
    metavar="SYSTEM",
    help="A system of the platform whose predictions it must beat too, as `nba-ml grades` has kept them.",
)
UNTIL = day_option("--until", help="Count games up to this date, inclusive. Default: all that are graded.")


def published_objects() -> ObjectStore:
    """The objects under the artifact root."""
    from nba_ml.registry.signed_store import open_published

    settings = Settings.from_environment()
    return open_published(settings.artifact_root, settings.signing)


def release_context() -> ReleaseContext:
    """What a decision about the channel needs, as the settings describe it."""
    from nba_ml.registry.release_context import ReleaseContext
    from nba_ml.storage.months import MonthStore
    from nba_ml.storage.opening import open_objects

    settings = Settings.from_environment()
    store = MonthStore(open_objects(settings.store))
    return ReleaseContext(published_objects(), store, settings.thresholds, settings.threads)


@contextmanager
def command_to_repeat() -> Iterator[None]:
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


def report_other_moves(done: MoveResult) -> None:
    """Print what an earlier attempt or another process did to the channel."""
    from nba_ml.registry.repeatable import describe_move

    if done.caught_up_to is not None:
        say(done.catch_up_note)
    if done.already is not None:
        say(f"Already done: serial {done.already.serial} is the {describe_move(done.already)}. Nothing was moved.")
    passed = done.already or (done.channel if done.later is not None else None)
    if passed is not None and done.serving is not None and done.serving.serial > passed.serial:
        say(f"The channel has moved since: serial {done.serving.serial}, {describe_move(done.serving)}.")


def move_recorded_as(asset: str) -> Callable[[MoveResult], None]:
    """What records this command's move as a materialisation of `champion` or `rollout`, for the UI's history.

    The move is done by then: an instance that cannot be written to is reported, and changes no exit code.
    """
    record = click.get_current_context().with_resource(move_recorder(asset))

    def record_move(done: MoveResult) -> None:
        failure = record(done.serving) if done.moved and done.serving is not None else None
        if failure is not None:
            say(f"The move is done, but {failure}")

    return record_move


def is_newest(objects: ObjectStore, state: Channel) -> bool:
    """Whether the history ends with what the pointer holds; prints it if not."""
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


def required_reason(reason: str | None) -> str:
    """The --reason. Raises ReleaseError if there is none."""
    if reason is None:
        raise ReleaseError("Give a --reason: it is kept in the channel's history.")
    return reason


def print_state(state: Channel) -> None:
    """Print a state of the channel, one fact a line."""
    rows = {
        "champion": state.champion.model_id,
        "challenger": challenger_text(state),
        "serial": f"{state.serial}, {moment_text(state)} UTC by {state.kind}",
        "because": state.reason,
        "before it": state.earlier[0].model_id if state.earlier else "none",
    }
    for name, value in rows.items():
        say(f"{name:11}{value}")


def challenger_text(state: Channel) -> str:
    """The challenger with its share, or 'none'."""
    if state.challenger is None:
        return "none"
    marked = " (the mock, no model)" if state.challenger.is_mock else ""
    return f"{state.challenger.model_id}{marked} at {state.share}%{'' if state.share else ', in shadow'}"


def moment_text(state: Channel) -> str:
    """When the state was reached, in UTC."""
    return f"{state.moved_at.astimezone(UTC):%Y-%m-%d %H:%M}"


def print_evidence(evidence: Evidence) -> None:
    """Print both models' errors, and the gain with its interval."""
    for side, model, mae, bias in (
        (
            "beside" if evidence.champion.startswith(("season_average", "production_")) else "champion",
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
