"""`nba-ml champion`: which published model serves."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from nba_ml.cli.release import (
    BEAT,
    FROM_SERIAL,
    NO_CHAMPION,
    REASON,
    challenger_text,
    command_to_repeat,
    is_newest,
    moment_text,
    move_recorded_as,
    print_evidence,
    print_state,
    published_objects,
    release_context,
    report_other_moves,
    required_reason,
)
from nba_ml.cli.wrapper import AS_JSON, FAILED, command, say, show_json


@click.group()
def champion() -> None:
    """Which published model serves: show, promote, roll back, history."""


@champion.command(short_help="Show the champion and the challenger.")
@AS_JSON
@command
def show(as_json: bool) -> int:
    """Show the champion, the challenger with its share, and the reason for the last change.

    The exit code is 1 if there is no champion, or if the history has a later state than workers see.
    """
    from nba_ml.registry.channel import newest_state_ahead, read_channel

    objects = published_objects()
    state = read_channel(objects)
    if state is None:
        if as_json:
            show_json(None)
        else:
            say(NO_CHAMPION)
        return FAILED
    if as_json:
        show_json(state.model_dump(mode="json"))
        return 0 if newest_state_ahead(objects, state) is None else FAILED
    print_state(state)
    return 0 if is_newest(objects, state) else FAILED


@champion.command(short_help="Make a published or registered model the champion.")
@click.argument("model_id", required=False)
@REASON
@click.option(
    "--waive",
    "waived",
    metavar="CONDITION",
    multiple=True,
    help="Waive a condition: newer, not_set_aside, grade, bias, or one (only) of a registered model's. May be "
    "repeated. Needs --reason.",
)
@BEAT
@FROM_SERIAL
@command
def promote(
    model_id: str | None, reason: str | None, waived: tuple[str, ...], beat: str | None, from_serial: int | None
) -> int:
    """Make a published or registered model the champion, if it meets the conditions.

    Without MODEL_ID, the latest published model. It must have been given later games than the champion, and must not be
    worse by more than the margin on games that neither was trained on. A registered model must also pass its backtest
    on stored rows. With a MODEL_ID and a --reason, an older model is accepted. With --beat, it must also be better than
    what that system of the platform predicted for games that it was not trained on.
    The exit code is 1 if the champion does not change.
    """
    from nba_ml.registry.promotion import promote as propose

    record_move = move_recorded_as("champion")
    with command_to_repeat():
        done = propose(release_context(), datetime.now(UTC), model_id, reason, waived, from_serial, beat)
    say(done.message)
    if done.decision is not None and done.decision.evidence is not None:
        print_evidence(done.decision.evidence)
    if done.decision is not None and done.decision.beaten is not None:
        print_evidence(done.decision.beaten)
    record_move(done)
    return 0 if done.moved or done.decision is None else FAILED


@champion.command()
@click.option("--to", metavar="MODEL_ID", help="An earlier champion. Default: the one before. Needed after a rollback.")
@REASON
@FROM_SERIAL
@command
def rollback(to: str | None, reason: str | None, from_serial: int | None) -> int:
    """Make the previous champion serve again, alone and immediately.

    To go further back after a rollback, name the model with --to. The model that is rolled back from is set aside: it
    is promoted again only by name, with a reason. A rollout in progress ends.
    """
    from nba_ml.registry.rollback import rollback as go_back

    record_move = move_recorded_as("champion")
    with command_to_repeat():
        done = go_back(published_objects(), datetime.now(UTC), required_reason(reason), to, from_serial)
    report_other_moves(done)
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
    record_move(done)
    return 0


@champion.command()
@click.option("--newest", default=20, show_default=True, type=click.IntRange(1), help="How many states to show.")
@AS_JSON
@command
def history(newest: int, as_json: bool) -> int:
    """List the states of the channel, newest last."""
    from nba_ml.registry.channel import read_history

    states = read_history(published_objects(), newest)
    if as_json:
        show_json([state.model_dump(mode="json") for state in states])
        return 0
    if not states:
        say(NO_CHAMPION)
    for state in states:
        beside = f", beside it {challenger_text(state)}" if state.challenger else ""
        say(f"{state.serial:4}  {moment_text(state)}  {state.kind}: {state.champion.model_id}{beside}")
        say(f"      {state.reason}")
    return 0
