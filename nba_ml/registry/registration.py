"""Register a model file next to our models, with reference rows and, if rows were held out, an interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import BundleError, ReleaseError
from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.contract.limits import MODEL_BYTES, TEXT_BYTES
from nba_ml.contract.reading import read_file, read_text
from nba_ml.contract.systems import system_of_features
from nba_ml.model.calibration import Calibration, calibrate
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.external import OF_POINTS, confirm_points
from nba_ml.registry.learners.interface import ParsedModel, require_features
from nba_ml.registry.learners.known import learner_of
from nba_ml.registry.learners.missing import NAN, PLATFORM_2026_01, MissingPolicy
from nba_ml.registry.learners.process import FILE, predict_apart, predict_points
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.states import require_reason
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent, columns_of, matrix_of
from nba_ml.registry.systems.registered import find_registered, register_file, version_of
from nba_ml.registry.systems.rules import Rule

REFERENCE_ROWS = 20
"""Reference rows of a registered model: as many as our own bundles have."""

CALIBRATION_ROWS = 500
"""Minimum held-out rows for an interval: each end is determined by a tenth of them."""

RARE = 0.01
"""Share of the stored rows in which a feature may be missing although the model never saw it missing: the first game of
a team or of a player."""


def register(
    context: ReleaseContext,
    data: bytes,
    extent: TrainingExtent,
    *,
    missing: MissingPolicy | None = None,
    features: FeatureVersion | None = None,
    waived: Sequence[str] = (),
    reason: str = "",
) -> ChannelModel:
    """Register a model file, so that it can be scored in shadow and rolled out like our own models.

    Registering it again changes nothing, even if the store has more months by then.

    Its reference rows are spread over the newest snapshot in the store. Its interval is calibrated on the rows that its
    trainer held out: after `extent.fitted_until`, up to `extent.given_until`, so that no game that it will be graded
    on is used. With fewer than 500 such rows in the store, it has no interval and no probability.

    Args:
        data: a CatBoost `.cbm`, XGBoost's JSON or UBJ, or LightGBM's text.
        extent: the dates of its training data, as stated by its trainer.
        missing: what it gets for a missing value. None is NaN, if its training rows had missing values too.
        features: the columns of a model that has no names of its own.
        waived: one condition of `registry.external.OF_POINTS` that it need not meet, for the given reason.

    Raises:
        ReleaseError: the store has no snapshot with samples, `fitted_until` is later than `given_until`, the model
            needs a policy for missing values, its numbers are not those of a model of points, or a waiver is invalid.
        BundleError: it is not a model file of the contract's features.
        MissingExtraError: its learner is not installed.
    """
    if extent.fitted_until > extent.given_until:
        raise ReleaseError(
            f"--fitted-until {extent.fitted_until} is later than --given-until {extent.given_until}. --given-until is "
            "the last date of all rows, including those used for fitting and early stopping, so --fitted-until must be "
            "the same or an earlier date."
        )
    if len(waived) > 1 or not set(waived) <= set(OF_POINTS):
        raise ReleaseError(f"{', '.join(waived)} cannot be waived: at registration, one of {', '.join(OF_POINTS)} can.")
    if waived:
        require_reason(reason)
    known = find_registered(context.objects, data, extent, missing or NAN, features)
    if known is not None:
        return known.model
    model = learner_of(data, FILE).parse(data, FILE, context.threads)
    version = version_of(model, features)
    require_features(model, version, features is not None, FILE)
    filled = _stored_rows(context, version)
    policy = _policy(model, filled, version, missing)
    _confirm_target(context, model, policy, version, filled, waived)

    rows = filled[-1]
    chosen = np.unique(np.linspace(0, rows.num_rows - 1, REFERENCE_ROWS).round().astype(int))
    taken = rows.take(pa.array(chosen))
    vectors = matrix_of(columns_of(taken, version), version)
    predict_apart(data, policy.fill(vectors, version), FILE)  # before anything is created: other processes can load it
    players, days = (taken.column(name).to_pylist() for name in ("player_lookup", "game_date"))
    reference = list(zip(players, days, vectors.tolist(), strict=True))
    calibration = _held_out_calibration(filled, model, policy, extent, version)
    return register_file(
        context.objects,
        data,
        extent,
        reference,
        calibration,
        missing=policy,
        features=features,
        waived=waived,
        reason=reason,
    ).model


def _stored_rows(context: ReleaseContext, version: FeatureVersion) -> list[pa.Table]:
    """The months' rows with the features of a version.

    Raises:
        ReleaseError: there are none.
    """
    filled = [table for table in context.snapshots("", version).values() if table.num_rows]
    if filled:
        return filled
    system = system_of_features(version)
    needed = f" It reads {version.name}: name {system.id} in NBA_ML_SYSTEMS." if system.prefix else ""
    raise ReleaseError(
        f"The store has no rows to use as reference rows.{needed} Run `nba-ml backfill` first"
        + (f", for {system.asset('feature_store_snapshot')}." if needed else ".")
    )


def _policy(
    model: ParsedModel, tables: Sequence[pa.Table], version: FeatureVersion, given: MissingPolicy | None
) -> MissingPolicy:
    """The given policy, or NaN if the model's training rows had missing values where the stored rows have them.

    Raises:
        ReleaseError: it never saw a missing value, or not in a feature that is often missing in the stored rows, and
            no policy, or one without a rule for that feature, was given.
    """
    if given == NAN:
        return NAN
    if given is not None and (fault := given.fault(version)):
        raise ReleaseError(f"The policy {given.name} is not one for this model: {fault}. Correct --missing.")
    known = model.missing()
    vectors = matrix_of(columns_of(pa.concat_tables(tables), version), version)
    shares = np.isnan(vectors).mean(axis=0)
    rules = given.rules if given else {}
    often = [i for i in known.unseen if shares[i] >= RARE and version.names[i] not in rules]
    gaps = sorted(often, key=lambda i: (-shares[i], i))
    if not gaps and (given is not None or not known.used or known.used & known.seen):
        return given or NAN
    listed = ", ".join(f"{version.names[i]} {shares[i]:.0%}" for i in gaps[:6]) or "none of its features often"
    what = (
        f"The policy {given.name} has no rule for features that the model never saw missing in training"
        if given
        else "The model never saw a missing value in training, so its trainer filled them"
        if not known.used & known.seen
        else "The model never saw these features missing in training, so its trainer filled them"
    )
    known_policy = f"--missing {PLATFORM_2026_01.name}\n"
    named = known_policy if {version.names[i] for i in gaps} <= PLATFORM_2026_01.rules.keys() else ""
    raise ReleaseError(
        f"{what}. In the stored rows these are missing: {listed}. With NaN in them it would not be the model that you "
        f"know. Say what it gets instead, by a name or by rules of your own:\n{named}"
        '--missing rules.json, with {"vegas_points_line": ["points_avg_season", 15.0], "vegas_line_move": 0, ...}\n'
        "If it should get NaN all the same, add --missing nan."
    )


def _confirm_target(
    context: ReleaseContext,
    model: ParsedModel,
    policy: MissingPolicy,
    version: FeatureVersion,
    tables: Sequence[pa.Table],
    waived: Sequence[str],
) -> None:
    """Raise ReleaseError unless the model's numbers on all stored rows are those of a model of points."""

    def predict(columns: Columns) -> Floats:
        return predict_points(model, policy.fill(matrix_of(columns, version), version), FILE)

    found = confirm_points(Rule("registered", predict, features=version), tables, context.limits, waived)
    if not found.passed:
        raise ReleaseError(
            f"The model does not predict points, by the stored rows: {found.summary}. It is not registered. Register a "
            f"model of points, or waive one of {', '.join(OF_POINTS)} with --waive and a --reason."
        )


def read_model_file(path: Path) -> bytes:
    """A model file to register.

    Raises:
        BundleError: it cannot be read, is too large, or is not an ordinary file.
    """
    try:
        return read_file(path, MODEL_BYTES)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error


def features_of(text: str) -> FeatureVersion:
    """The feature version that --features states: its name, or a file with its names (one per line, or a JSON list).

    Raises:
        BundleError: it is neither, or the names in the file are not those of a version in its order.
    """
    if text in FEATURE_VERSIONS:
        return FEATURE_VERSIONS[text]
    path = Path(text)
    if not path.is_file():
        raise BundleError(
            f"--features {text} is neither a feature version of the contract ({', '.join(FEATURE_VERSIONS)}) nor a "
            "file of feature names, one per line."
        )
    try:
        written = read_text(path, TEXT_BYTES)
    except OSError as error:
        raise BundleError(f"--features {path} cannot be read: {error}.") from error
    try:
        names = tuple(json.loads(written))
    except (ValueError, TypeError, RecursionError):
        names = tuple(line.strip() for line in written.splitlines() if line.strip())
    versions = sorted(FEATURE_VERSIONS.values(), key=lambda each: abs(each.count - len(names)))
    for version in versions:
        if names == version.names:
            return version
    nearest = versions[0]
    differs = next((i for i, name in enumerate(nearest.names) if i >= len(names) or names[i] != name), nearest.count)
    raise BundleError(
        f"{path} has {len(names)} names, which are not those of {nearest.name} in its order: position {differs} is "
        f"{names[differs] if differs < len(names) else 'none'!r}. A model can only be registered with all features of "
        "a version of the contract, in its order."
    )


def _held_out_calibration(
    tables: Sequence[pa.Table],
    model: ParsedModel,
    policy: MissingPolicy,
    extent: TrainingExtent,
    version: FeatureVersion,
) -> Calibration | None:
    """Calibrate an interval on the rows that the model's trainer held out; None if there are too few."""
    rows = pa.concat_tables(tables)
    days = rows.column("game_date")
    first, last = pa.scalar(extent.fitted_until), pa.scalar(extent.given_until)
    rows = rows.filter(pc.and_(pc.greater(days, first), pc.less_equal(days, last)))
    if rows.num_rows < CALIBRATION_ROWS:
        return None
    columns = columns_of(rows, version)
    predicted = publish_points(predict_points(model, policy.fill(matrix_of(columns, version), version), FILE))
    return calibrate(predicted, rows.column("points").to_numpy(), columns["vegas_points_line"])
