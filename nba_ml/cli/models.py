"""`nba-ml models`: what is published and registered under the artifact root, and how two models differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from nba_ml.cli.release import published_objects
from nba_ml.cli.wrapper import AS_JSON, command, escaped, out, say, show_json
from nba_ml.contract.digest import json_digest
from nba_ml.contract.systems import XGBOOST_V1

if TYPE_CHECKING:
    from nba_ml.registry.channel import Channel
    from nba_ml.storage.objects import ObjectStore

_LEFT_OUT = ("reference_rows", "calibration", "feature_names")
"""Of a record: long, and compared by digest through the model id."""


@click.group()
def models() -> None:
    """The published and registered models: list, show, diff."""


@models.command(name="list", short_help="List the models with their error, and who serves.")
@AS_JSON
@command
def list_models(as_json: bool) -> int:
    """List the models under the artifact root, with their error and who serves.

    The error is the MAE on the validation dates, the gain that on the season average, in points. A registered model has
    neither. A damaged one is named with what is wrong.
    """
    from rich.table import Column, Table

    from nba_ml.registry.channel import read_channel

    objects = published_objects()
    channel = read_channel(objects)
    rows = [_summary(objects, model_id, channel) for model_id in _ids(objects)]
    if as_json:
        show_json(rows)
        return 0
    if not rows:
        say(f"No model is published in {objects.uri(XGBOOST_V1.id)}. `nba-ml run` trains, checks and publishes one.")
        return 0
    # Without lines: an id of 41 characters and who serves fit into 80 columns.
    numbers = (Column(name, justify="right") for name in ("MAE", "gain"))
    table = Table(Column("model", no_wrap=True), *numbers, "given until", "", box=None, pad_edge=False)
    for row in rows:
        values = ("" if row[name] is None else f"{row[name]:.3f}" for name in ("mae", "gain"))
        table.add_row(
            escaped(row["model_id"]), *values, row["given_until"] or "", escaped(row["serves"] or row["damaged"])
        )
    out.print(table)
    return 0


@models.command(short_help="Show a model's record, checks and provenance.")
@click.argument("model_id")
@AS_JSON
@command
def show(model_id: str, as_json: bool) -> int:
    """Show a model's record: data, dates, parameters, errors, checks, and the code that trained it."""
    facts = _facts_and_provenance(published_objects(), model_id)
    if as_json:
        show_json(facts)
        return 0
    for name, value in _flat(facts):
        say(f"{name}: {value}")
    return 0


@models.command(short_help="Show what differs between two models.")
@click.argument("first")
@click.argument("second")
@AS_JSON
@command
def diff(first: str, second: str, as_json: bool) -> int:
    """Show what differs between two models: data, dates, parameters, errors, checks, code."""
    from rich.table import Table

    objects = published_objects()
    one, two = (dict(_flat(_facts_and_provenance(objects, each))) for each in (first, second))
    differing = {
        name: (one.get(name, ""), two.get(name, "")) for name in {**one, **two} if one.get(name) != two.get(name)
    }
    if as_json:
        show_json({name: {"first": a, "second": b} for name, (a, b) in differing.items()})
        return 0
    table = Table("", "first", "second")
    for name, values in differing.items():
        table.add_row(*map(escaped, (name, *values)))
    out.print(table)
    return 0


def _ids(objects: ObjectStore) -> Iterator[str]:
    """Published models, then registered ones, by name."""
    from nba_ml.registry.learners.known import LEARNERS
    from nba_ml.registry.publication import list_published

    yield from list_published(objects)
    for system_id in LEARNERS:
        for name in sorted(objects.names(f"{system_id}/")):
            if name.endswith("_manifest.json"):
                yield name.partition("/")[2].removesuffix("_manifest.json")


def _summary(objects: ObjectStore, model_id: str, channel: Channel | None) -> dict[str, Any]:
    from nba_ml.contract.errors import BundleError

    serves = ""
    if channel is not None and channel.champion.model_id == model_id:
        serves = "champion"
    elif channel is not None and channel.challenger is not None and channel.challenger.model_id == model_id:
        serves = f"challenger, {channel.share}%"
    row = {"model_id": model_id, "mae": None, "gain": None, "given_until": None, "serves": serves, "damaged": ""}
    try:
        facts = _facts(objects, model_id)
    except BundleError as error:
        return {**row, "damaged": str(error)}
    metrics = facts.get("metrics")
    if metrics:
        average = metrics["baselines"].get("season_average")
        row |= {"mae": metrics["validation"]["mae"], "gain": average["gain"] if average else None}
    return {**row, "given_until": facts.get("last_date") or facts.get("given_until")}


def _facts(objects: ObjectStore, model_id: str) -> dict[str, Any]:
    """What the bundle, or the manifest of a registered model, states.

    Raises:
        BundleError: there is no such model, or it is damaged.
    """
    from nba_ml.registry.learners.known import learner_of_model
    from nba_ml.registry.publication import published
    from nba_ml.registry.systems.registered import require_registered
    from nba_ml.registry.systems.xgboost_v1 import read_published

    if learner_of_model(model_id) is not None:
        stated = require_registered(objects, model_id).manifest.model_dump(mode="json")
    else:
        stated = read_published(objects, model_id).record
        manifest = published(objects, model_id)
        if manifest is not None:
            verdict = manifest.verdict
            stated = {
                **stated,
                "checks_passed": sum(check.passed for check in verdict.checks),
                "overrides": [override.check for override in verdict.overrides],
                "limits_changed": verdict.thresholds,
            }
    return {name: value for name, value in stated.items() if name not in _LEFT_OUT}


def _facts_and_provenance(objects: ObjectStore, model_id: str) -> dict[str, Any]:
    """With the code and the data of a published model: bundles of before there was a provenance state none.

    Raises:
        BundleError: there is no such model, or it or a document of it is damaged.
    """
    from nba_ml.registry.learners.known import learner_of_model
    from nba_ml.registry.manifest import BundleNames
    from nba_ml.registry.provenance import provenance_in
    from nba_ml.registry.reader import read_manifest, reads_from

    facts = _facts(objects, model_id)
    if learner_of_model(model_id) is not None:
        return facts
    read = reads_from(objects)
    documents = read_manifest(read, BundleNames.of(model_id).manifest).read_documents(read)
    return {**facts, "provenance": provenance_in(documents) or {}}


def _flat(facts: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as `metrics.validation.mae` and text, one by one."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{under}{name}", f"{len(value)}, digest {json_digest(value)[:12]}"
        elif isinstance(value, list):
            yield f"{under}{name}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{under}{name}", str(value)
