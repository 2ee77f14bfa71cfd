"""Systems other than our bundles: a rule as a challenger, a registered CatBoost model, loaded after all checks.

A CatBoost model is loaded in a fresh process before this one: a forged `.cbm` with matching digests can crash
CatBoost's parser, as a forged booster crashes XGBoost's. `python -m nba_ml.serving.external` is that process: it reads
`{"model": <base64>, "rows": [[33 numbers or null], ...]}` on its standard input and prints the predictions as a JSON
list.
"""

from __future__ import annotations

import base64
import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from nba_ml.contract.errors import NbaMlError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.fresh_process import predict_in_subprocess
from nba_ml.registry.systems.catboost_v8 import (
    Registered,
    load_catboost,
    predict_file,
    require_installed,
    require_reproduced,
)
from nba_ml.registry.systems.external import find_external_system
from nba_ml.registry.systems.interface import Columns, PredictionSystem
from nba_ml.registry.systems.rules import Rule
from nba_ml.serving.loaded import Loaded
from nba_ml.serving.prediction import ModelIdentity, Prediction, make_records, unpredicted
from nba_ml.serving.rows import FeatureRows
from nba_ml.storage.objects import ObjectStore

_LINE = V2_33FEATURES.index("vegas_points_line")


@dataclass(frozen=True, slots=True)
class LoadedSystem(Loaded):
    """A rule or a registered CatBoost model."""

    system: PredictionSystem

    def predict(self, rows: FeatureRows) -> list[Prediction]:
        """The records (n,) of rows that keep the contract. Without an interval, what needs one is None.

        A rule has no data before a player's first game of the season: its record then has None for the points, and no
        other system's number is used.

        Raises:
            BundleError: a model's output is not finite.
        """
        if not len(rows.features):
            return []
        raw = self.system.predict(_columns(rows))
        known = ~np.isnan(raw) if isinstance(self.system, Rule) else np.ones(len(raw), dtype=np.bool_)
        predicted = np.flatnonzero(known).tolist()
        made = make_records(
            raw[known], rows.features[known, _LINE], rows.take(predicted), self.identity, self.system.calibration
        )
        records = dict(zip(predicted, made, strict=True))
        return [
            records[index] if index in records else unpredicted(rows.take([index]), self.identity)
            for index in range(len(raw))
        ]


def _columns(rows: FeatureRows) -> Columns:
    return {name: rows.features[:, position] for position, name in enumerate(V2_33FEATURES.names)}


def load_other(
    store: ObjectStore, model: ChannelModel, *, threads: int | None = 1, try_apart: bool = True
) -> LoadedSystem:
    """Load and check a rule or a registered CatBoost model.

    For a CatBoost model, in this order: its manifest's form, digest and names, and that it is the one that the channel
    names; size and sha256 of the file, before CatBoost parses a byte; then, in a fresh process and after that in this
    one, its feature names and its reference rows, predicted as registered.

    Args:
        threads: that a CatBoost predicts with; None for all cores.
        try_apart: let a fresh process load it first, a second or two.

    Raises:
        BundleError: anything is missing, damaged, or not as stated.
        MissingExtraError: it is a CatBoost model, and CatBoost is not installed.
    """
    found = find_external_system(store, model)
    system: PredictionSystem = found if isinstance(found, Rule) else _catboost(found, threads, try_apart)
    identity = ModelIdentity(
        system_id=system.system_id,
        model_version=system.version,
        model_type=system.model_type,
        model_sha256=system.model_sha256,
        feature_version=V2_33FEATURES.name,
    )
    return LoadedSystem(identity, system.newest_month, datetime.now(UTC), system)


def _catboost(registered: Registered, threads: int | None, try_apart: bool) -> PredictionSystem:
    require_installed()
    if try_apart:
        manifest = registered.manifest
        rows = [row.features for row in manifest.reference_rows]
        predicted = predict_in_subprocess("nba_ml.serving.external", registered.data, rows, manifest.model_id)
        require_reproduced(manifest, predicted)
    return load_catboost(registered, threads)


def main() -> int:
    """Answer one request. Returns 0 with JSON on standard output, or 1 with one line on standard error."""
    request = json.load(sys.stdin)
    try:
        with redirect_stdout(sys.stderr):  # the answer must stand alone
            predicted = predict_file(base64.b64decode(request["model"]), request["rows"], threads=1)
    except NbaMlError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump(predicted, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
