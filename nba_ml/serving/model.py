"""One published model, immutable, loaded after all checks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from pydantic import ValidationError

from nba_ml.model.calibration import HIGH, LOW, Calibration, PointsDistribution
from nba_ml.model.published import published_columns
from nba_ml.registry.fresh_process import predict_in_fresh_process
from nba_ml.registry.reader import ReadBundle, Reader, read_bundle, refuse
from nba_ml.registry.reference import load_booster, predict_loaded
from nba_ml.registry.systems.published import SPREAD
from nba_ml.serving.few_rows import FewRows
from nba_ml.serving.loaded import Loaded
from nba_ml.serving.prediction import Explanation, ModelIdentity, Prediction, Unexplained, explanations, make_records
from nba_ml.serving.rows import FeatureRows

_RELEASE = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)")


@dataclass(frozen=True, slots=True)
class LoadedModel(Loaded):
    """One of our models; `record` is the published metadata."""

    record: dict[str, Any]
    booster: xgb.Booster
    calibration: Calibration
    output: FewRows

    def predict(self, rows: FeatureRows) -> list[Prediction]:
        if not len(rows.features):
            return []
        raw = self.output(np.ascontiguousarray(rows.features, dtype=np.float32))
        line = rows.features[:, self.features.index("vegas_points_line")]
        return make_records(raw, line, rows, self.identity, self.calibration)

    def contributions(self, rows: FeatureRows) -> list[Explanation | Unexplained]:
        """XGBoost's own TreeSHAP, exact: some milliseconds for each row."""
        matrix = xgb.DMatrix(
            rows.features.astype(np.float32), missing=np.nan, feature_names=list(self.features.names), nthread=1
        )
        return [*explanations(self.booster.predict(matrix, pred_contribs=True), self.features)]


def load_model(
    read: Reader,
    manifest_name: str,
    *,
    manifest_sha256: str | None = None,
    threads: int | None = 1,
    try_apart: bool = True,
) -> LoadedModel:
    """Load and check a published model.

    In this order: what `read_bundle` checks, before XGBoost parses a byte; that this XGBoost is no older than the
    one that wrote the model; the calibration, and what would be published for the reference rows; then, in a fresh
    process and after that in this one, the booster's own feature names, and the reference rows, predicted by the
    very booster that will serve, and in the way that will serve, equal to the last bit.

    A newer XGBoost is accepted: it reads what older ones wrote, and the reference rows show whether it still
    computes the same. An older one, even by a patch release, is refused: XGBoost guarantees nothing there.

    Args:
        read: returns the bytes of an object by its name, None if it does not exist. Its errors pass through.
        manifest_name: `xgboost_v1/<model_id>_manifest.json`.
        manifest_sha256: of the manifest, where a channel names it.
        threads: that the booster predicts with; None for all cores. They change the speed only.
        try_apart: load it in a fresh process first (half a second). A forged booster with matching digests can crash
            XGBoost's parser; then only that process crashes. Use False for a store that only the publisher can write.

    Raises:
        BundleError: anything is missing, damaged, or not as stated.
    """
    bundle = read_bundle(read, manifest_name, manifest_sha256)
    _require_xgboost(bundle)
    calibration = _calibration(bundle)
    _require_publishable(bundle, calibration)
    identity = ModelIdentity(
        system_id=_text(bundle, "system_id"),
        model_version=bundle.model_id,
        model_type=_text(bundle, "model_type"),
        model_sha256=bundle.model_sha256,
        feature_version=bundle.features.name,
    )
    newest_month = _text(bundle, "newest_month")
    if try_apart:
        bundle.require_reproduced(predict_in_fresh_process(bundle.booster, bundle.rows, bundle.features))
    booster = load_booster(bundle.booster, bundle.features, threads, inspected=try_apart)
    _require_objective(bundle, booster)
    bundle.require_reproduced(predict_loaded(booster, bundle.rows, bundle.features))
    output = FewRows(booster)
    bundle.require_reproduced(output(np.array(bundle.rows, dtype=np.float32)).tolist())
    return LoadedModel(identity, newest_month, datetime.now(UTC), bundle.record, booster, calibration, output)


def _text(bundle: ReadBundle, field: str) -> str:
    value = bundle.record.get(field)
    if not isinstance(value, str) or not value:
        refuse(bundle.manifest_name, f"a record that states its {field}", repr(value))
    return value


def _require_xgboost(bundle: ReadBundle) -> None:
    libraries = bundle.record.get("libraries")
    stated = libraries.get("xgboost") if isinstance(libraries, dict) else None
    wrote = _RELEASE.match(stated) if isinstance(stated, str) else None
    if wrote is None:
        refuse(bundle.manifest_name, "a record that states the XGBoost that wrote the model", repr(stated))
    here = _RELEASE.match(xgb.__version__)
    if here is None or tuple(map(int, here.groups())) < tuple(map(int, wrote.groups())):
        refuse(
            bundle.manifest_name,
            f"XGBoost {stated} or newer in this process, as that wrote the model (pip install 'xgboost>={stated}')",
            f"XGBoost {xgb.__version__}",
        )


def _require_objective(bundle: ReadBundle, booster: xgb.Booster) -> None:
    """The objective turns the trees' sum into points, and is the one parameter that a booster keeps of its training."""
    parameters = bundle.record.get("parameters")
    stated = parameters.get("objective") if isinstance(parameters, dict) else None
    found = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if stated != found:
        refuse(bundle.manifest_name, f"a booster of the record's objective, {stated!r}", repr(found))


def _calibration(bundle: ReadBundle) -> Calibration:
    """The distribution; of a bundle of before there was one, the calibration."""
    published = bundle.record.get("distribution")
    try:
        found = Calibration.model_validate(bundle.record.get("calibration"))
        if published is not None:
            found = PointsDistribution.model_validate(published)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
        refuse(bundle.manifest_name, "a record with the calibration of its intervals", faults)

    _require_shape(bundle, found)
    return found


def _require_shape(bundle: ReadBundle, found: Calibration) -> None:
    """One shape per knot, one value in it per level; knots and levels rise and include the interval's ends.

    NumPy would silently broadcast or cut shapes that do not fit.
    """
    rising = all(np.all(np.diff(values) > 0) for values in (found.knots, found.levels))
    sizes = {len(shape) for shape in found.shapes}
    fits = sizes == {len(found.levels)} and len(found.shapes) == len(found.knots) and {LOW, HIGH} <= set(found.levels)
    if not (rising and fits):
        refuse(
            bundle.manifest_name,
            "a calibration that fits together",
            f"{len(found.knots)} knots, {len(found.levels)} levels, {len(found.shapes)} shapes of {sorted(sizes)}",
        )


def _require_publishable(bundle: ReadBundle, calibration: Calibration) -> None:
    """The calibration gives numbers for the reference rows, for lines beside the predictions."""
    raw: npt.NDArray[np.float32] = np.array(bundle.predictions, dtype=np.float32)
    columns = published_columns(raw, np.floor(raw.astype(np.float64)) + 0.5, calibration)
    for name in SPREAD:
        values = columns[name].astype(np.float64)
        if not np.isfinite(values).all():
            refuse(bundle.manifest_name, f"a calibration that gives {name}", str(values[~np.isfinite(values)][0]))
