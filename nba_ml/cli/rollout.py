"""`nba-ml rollout`: a challenger beside the champion, from registration and comparison to its last step."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import click

from nba_ml.cli.release import (
    BEAT,
    FROM_SERIAL,
    REASON,
    UNTIL,
    command_to_repeat,
    is_newest,
    move_recorded_as,
    print_evidence,
    print_state,
    published_objects,
    release_context,
    report_other_moves,
    required_reason,
)
from nba_ml.cli.session import require_form
from nba_ml.cli.wrapper import AS_JSON, FAILED, command, day_option, say, show_json


@click.group(short_help="Give a challenger 0, 10, 50, then 100 percent of the slate.")
def rollout() -> None:
    """Give a challenger 0 (shadow), 10, 50, then 100 percent of the slate, or stop it."""


@rollout.command(short_help="Start a rollout of a model, in shadow or at 10%.")
@click.argument("model_id")
@REASON
@day_option("--graded-from", help="First game date it is judged on. Default: today.")
@click.option(
    "--share",
    type=click.Choice(["0", "10"]),
    default="0",
    show_default=True,
    help="Percent of the player-games that it serves from now on.",
)
@click.option(
    "--waive",
    "waived",
    metavar="CONDITION",
    multiple=True,
    help="Waive one condition of --share 10, for the given reason: comparison, or one of a registered model's.",
)
@BEAT
@FROM_SERIAL
@command
def start(
    model_id: str,
    reason: str | None,
    graded_from: date | None,
    share: str,
    waived: tuple[str, ...],
    beat: str | None,
    from_serial: int | None,
) -> int:
    """Start a rollout of MODEL_ID in shadow (scored and graded, not served), or at 10% with --share 10.

    MODEL_ID is a published model, a registered model, or a rule to compare with: mock, moving_average. A hash, the
    same in every worker, decides which player-games it serves. `rollout advance` takes it from 0 to 10 if its grades
    allow. --share 10 needs a comparison with the champion, which `rollout compare` has made and kept; a registered
    model must also pass its backtest on stored rows.
    """
    from nba_ml.registry.learners.known import LEARNERS
    from nba_ml.registry.rollout import FirstShare, rollout_start

    first: FirstShare = 10 if share == "10" else 0
    record_move = move_recorded_as("rollout")
    with command_to_repeat():
        done = rollout_start(
            release_context(),
            model_id,
            datetime.now(UTC),
            required_reason(reason),
            graded_from,
            from_serial,
            first,
            waived,
            beat,
        )
    report_other_moves(done)
    state = done.serving
    if state is not None:
        print_state(state)
        learner = LEARNERS.get(state.challenger.system_id) if state.challenger else None
        if learner is not None and learner.extra is not None:
            say(
                f"It is a {learner.title} model: workers without the extra '{learner.extra}' refuse it, and refuse to "
                "start while it has a share."
            )
    record_move(done)
    return 0


@rollout.command(short_help="Take the next step if the grades allow it.")
@UNTIL
@BEAT
@FROM_SERIAL
@command
def advance(until: date | None, beat: str | None, from_serial: int | None) -> int:
    """Take the next step if the grades allow it; stop the rollout if they are too bad.

    With --beat, it also waits until the challenger is better than what that system of the platform predicted.
    After 100% the challenger becomes the champion. The exit code is 1 if nothing changed, or if the challenger went
    back to 0.
    """
    from nba_ml.registry.rollout import rollout_advance

    record_move = move_recorded_as("rollout")
    with command_to_repeat():
        status, done = rollout_advance(release_context(), datetime.now(UTC), until, from_serial, beat)
    report_other_moves(done)
    say(f"{status.step.action}: {status.step.reason}.")
    if done.serving is not None:
        print_state(done.serving)
    record_move(done)
    return 0 if (done.moved or done.already) and status.step.action == "advance" else FAILED


@rollout.command()
@REASON
@click.option("--forget", is_flag=True, help="Also remove the challenger from shadow.")
@FROM_SERIAL
@command
def stop(reason: str | None, forget: bool, from_serial: int | None) -> int:
    """Set the challenger's share to 0 immediately. It stays in shadow: scored, graded, not served."""
    from nba_ml.registry.rollback import rollout_stop

    record_move = move_recorded_as("rollout")
    with command_to_repeat():
        done = rollout_stop(
            published_objects(), datetime.now(UTC), required_reason(reason), forget=forget, from_serial=from_serial
        )
    report_other_moves(done)
    if done.serving is not None:
        print_state(done.serving)
    record_move(done)
    return 0


@rollout.command(short_help="Compare champion and challenger since the last step.")
@UNTIL
@BEAT
@AS_JSON
@command
def status(until: date | None, beat: str | None, as_json: bool) -> int:
    """Compare champion and challenger on the games since the last step, and show what advance would do."""
    from nba_ml.registry.rollout import rollout_status

    context = release_context()
    found = rollout_status(context, until, beat)
    if as_json:
        evidence = found.evidence.model_dump(mode="json") if found.evidence else None
        step = {"action": found.step.action, "reason": found.step.reason}
        show_json({"channel": found.channel.model_dump(mode="json"), "evidence": evidence, "step": step})
        return 0
    print_state(found.channel)
    is_newest(context.objects, found.channel)
    if found.evidence is not None:
        print_evidence(found.evidence)
    if found.beaten is not None:
        print_evidence(found.beaten)
    say(f"{found.step.action}: {found.step.reason}.")
    return 0


@rollout.command(short_help="Register a model file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@day_option("--given-until", required=True, help="The last game date of all rows it was given.")
@day_option(
    "--fitted-until", help="The last game date used for fitting or early stopping, if later rows were held out."
)
@click.option(
    "--target", type=click.Choice(["points"]), required=True, help="What it predicts. Its numbers must confirm it."
)
@click.option(
    "--missing",
    metavar="POLICY",
    help="What it gets for a missing value: nan, platform-2026-01, or a JSON file of rules. Needed for a model that "
    "never saw a missing value in training.",
)
@click.option(
    "--features",
    metavar="VERSION",
    help="The columns of a model without feature names: a version, as v2_33features, or a file with the names, one per "
    "line.",
)
@click.option(
    "--waive",
    "waived",
    metavar="CONDITION",
    multiple=True,
    help="Waive one condition of the target: stored_bias, spread or correlation. Needs --reason.",
)
@click.option("--reason", metavar="TEXT", default="", help="Why, in a sentence. It stays in the manifest.")
@command
def register(
    file: Path,
    given_until: date,
    fitted_until: date | None,
    target: str,  # noqa: ARG001 (there is one; stating it is the point)
    missing: str | None,
    features: str | None,
    waived: tuple[str, ...],
    reason: str,
) -> int:
    """Register a model FILE, so that it can be compared and rolled out: CatBoost's .cbm, XGBoost's .json or .ubj,
    LightGBM's .txt.

    It must have all features of a version of the contract (v2_33features, v3_41features, v4_43features), by name and
    in order, and the store rows of that version. The two dates cannot be checked: games up to them are
    never used to grade it. Its interval is calibrated on the rows between the two dates, if the store has 500;
    otherwise it has none. On all stored rows, its predictions must look like points: a model of minutes or a constant
    is refused. Needs the learner's extra: nba_ml[catboost] or nba_ml[lightgbm].
    """
    from nba_ml.registry.learners.missing import policy_of
    from nba_ml.registry.registration import features_of, read_model_file
    from nba_ml.registry.registration import register as put
    from nba_ml.registry.systems.interface import TrainingExtent

    today = datetime.now(UTC).date()
    if given_until > today:
        raise click.UsageError(
            f"--given-until {given_until} is in the future. Today is {today} (UTC): give the date of the last game "
            "that the model was given."
        )
    model = put(
        release_context(),
        read_model_file(file),
        TrainingExtent(fitted_until or given_until, given_until),
        missing=None if missing is None else policy_of(missing),
        features=None if features is None else features_of(features),
        waived=waived,
        reason=reason,
    )
    say(
        f"Registered as {model.model_id}. `nba-ml rollout start {model.model_id}` scores and grades it beside the "
        f"champion without serving. Before it serves, it must meet conditions on stored games after {given_until}. "
        "That date cannot be checked: if it is too early, the model is graded on games that it was trained on."
    )
    return 0


@rollout.command(short_help="Score a month with several systems, and grade each.")
@click.argument("model_ids", nargs=-1, required=True)
@click.option("--month", metavar="YYYY-MM", required=True, help="A month that none of them was given.")
@AS_JSON
@command
def compare(model_ids: tuple[str, ...], month: str, as_json: bool) -> int:
    """Score a month with several systems in shadow, and grade each against the first, on the same rows.

    Rows with and without a betting line are also shown separately. The comparison of each model with the first is kept
    for `rollout start --share 10`.
    MODEL_IDS are published or registered models, mock or moving_average. For a registered model it also shows
    the conditions that it must meet before it serves, measured on all stored games after the last it was given.
    """
    from nba_ml.evaluation.compare import backtests, shadow_month

    require_form(month)
    context = release_context()
    compared = shadow_month(context, month, model_ids)
    if as_json:
        conditions = [each.model_dump(mode="json") for each in backtests(context, model_ids)]
        show_json({"systems": [each.model_dump(mode="json") for each in compared.systems], "backtests": conditions})
        return 0
    for grade in compared.systems:
        metrics, interval = grade.metrics, grade.gain_interval
        say(
            f"MAE {metrics.mae:.3f}  bias {metrics.bias:+.2f}  gain {grade.gain:+.3f} (95%: {interval.low:+.3f} to "
            f"{interval.high:+.3f})  {metrics.n:,} rows  {grade.model_version}"
        )
        for rows, part in (("with a line", grade.with_line), ("without a line", grade.without_line)):
            say(
                f"    {rows}: MAE {part.mae:.3f}  bias {part.bias:+.2f}  {part.n:,} rows"
                if part
                else f"    {rows}: none"
            )
    for found in backtests(context, model_ids):
        say(f"{found.model} {'may serve' if found.passed else 'may not serve'}, by all stored rows after its training:")
        for condition in found.conditions:
            say(f"  {'met' if condition.met else 'NOT MET':8}{condition.name}: {condition.detail}")
    return 0
