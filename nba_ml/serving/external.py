"""Systems other than our bundles: a rule as a challenger, a registered model, loaded after all checks.

A registered model is loaded in a fresh process before this one: a forged file with matching digests can crash its
learner's parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.systems.external import find_external_system
from nba_ml.registry.systems.interface import Columns, PredictionSystem
from nba_ml.registry.systems.registered import RegisteredSystem, load_registered
from nba_ml.registry.systems.rules import Rule
from nba_ml.serving.loaded import Loaded
from nba_ml.serving.prediction import (
    Explanation,
    ModelIdentity,
    Prediction,
    Unexplained,
    explanations,
    make_records,
    unpredicted,
)
from nba_ml.serving.rows import FeatureRows
from nba_ml.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class LoadedSystem(Loaded):
    """A rule or a registered model."""

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
        line = rows.version.index("vegas_points_line")
        made = make_records(
            raw[known], rows.features[known, line], rows.take(predicted), self.identity, self.system.calibration
        )
        records = dict(zip(predicted, made, strict=True))
        return [
            records[index] if index in records else unpredicted(rows.take([index]), self.identity)
            for index in range(len(raw))
        ]

    def contributions(self, rows: FeatureRows) -> list[Explanation | Unexplained]:
        """Its learner's own TreeSHAP; a rule has none."""
        reason = f"{self.identity.system_id} is a rule, a formula of averages: its features have no contributions."
        if isinstance(self.system, RegisteredSystem):
            columns = _columns(rows)
            parts, raw = self.system.contributions(columns), self.system.predict(columns)
            if np.allclose(parts.sum(axis=1), raw, rtol=1e-4, atol=1e-4):
                return [*explanations(parts, self.features)]
            reason = f"{self.model_id} has another objective than points, so its contributions are not in points."
        return [Unexplained(unavailable=reason) for _ in range(len(rows.features))]


def _columns(rows: FeatureRows) -> Columns:
    return {name: rows.features[:, position] for position, name in enumerate(rows.version.names)}


def load_other(
    store: ObjectStore, model: ChannelModel, *, threads: int | None = 1, try_apart: bool = True
) -> LoadedSystem:
    """Load and check a rule or a registered model.

    For a registered model, in this order: its manifest's form, digest and names, and that it is the one that the
    channel names; size and sha256 of the file, before its learner parses a byte; then, in a fresh process and after
    that in this one, its feature names and its reference rows, predicted as registered.

    Args:
        threads: that a registered model predicts with; None for all cores.
        try_apart: let a fresh process load it first, a second or two.

    Raises:
        BundleError: anything is missing, damaged, or not as stated.
        MissingExtraError: it is a registered model, and its learner is not installed.
    """
    found = find_external_system(store, model)
    system: PredictionSystem = found if isinstance(found, Rule) else load_registered(found, threads, apart=try_apart)
    identity = ModelIdentity(
        system_id=system.system_id,
        model_version=system.version,
        model_type=system.model_type,
        model_sha256=system.model_sha256,
        feature_version=system.features.name,
    )
    return LoadedSystem(identity, system.newest_month, datetime.now(UTC), system)
