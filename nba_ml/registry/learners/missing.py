"""What a registered model gets in place of a missing value, as in its training.

A snapshot keeps a missing value as NaN. A model whose training rows had none, because its trainer imputed them, gives
meaningless numbers for NaN. So its manifest carries a policy, which fills the vectors before the model sees them:
wherever it predicts, and nowhere else. The rows themselves and the line that a prediction is compared with keep NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.contract.limits import TEXT_BYTES
from nba_ml.contract.reading import read_file
from nba_ml.registry.learners.interface import Vectors

Rule = tuple[float | str, ...]
"""What to take for a missing value: the first of these that is there. A number, or the name of another feature."""

AVERAGE = "points_avg_season"


class MissingPolicy(BaseModel):
    """Feature name -> rule, under a name. Without rules, a missing value stays NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100)
    rules: dict[str, Rule]

    @model_validator(mode="after")
    def _names_features(self) -> MissingPolicy:
        faults = [self.fault(version) for version in FEATURE_VERSIONS.values()]
        if all(faults):
            raise ValueError(faults[0])
        return self

    def fault(self, version: FeatureVersion) -> str:
        """Why a model with the features of a version cannot have this policy; '' if it can."""
        for name, rule in self.rules.items():
            if name not in version.names:
                return f"{version.name} has no feature {name!r}"
            if not rule:
                return f"the rule of {name} is empty"
            for value in rule:
                if isinstance(value, str) and (value not in version.names or value == name):
                    return f"{name}: {value!r} is not another feature of {version.name}"
                if not isinstance(value, str) and not version[name].low <= value <= version[name].high:
                    return f"{name}: {value} is outside its range, {version[name].low:g} to {version[name].high:g}"
        return ""

    def fill(self, vectors: Vectors, version: FeatureVersion) -> Vectors:
        """The vectors (n, features) with missing values filled. Rules read the vectors as they were."""
        if not self.rules:
            return vectors
        filled = vectors.copy()
        for name, rule in self.rules.items():
            column = filled[:, version.index(name)]
            for value in rule:
                gaps = np.isnan(column)
                column[gaps] = vectors[gaps, version.index(value)] if isinstance(value, str) else value
        return filled


NAN = MissingPolicy(name="nan", rules={})
"""A missing value stays NaN: for a model whose training rows had missing values too."""

PLATFORM_2026_01 = MissingPolicy(
    name="platform-2026-01",
    rules={
        "points_avg_last_5": (10.0,),
        "points_avg_last_10": (10.0,),
        "points_avg_season": (10.0,),
        "points_std_last_10": (5.0,),
        "shot_zone_mismatch_score": (0.0,),
        "pace_score": (0.0,),
        "usage_spike_score": (0.0,),
        "injury_risk": (0.0,),
        "opponent_def_rating": (112.0,),
        "opponent_pace": (100.0,),
        "pct_paint": (0.30,),
        "pct_mid_range": (0.20,),
        "pct_three": (0.35,),
        "pct_free_throw": (0.15,),
        "team_pace": (100.0,),
        "team_off_rating": (112.0,),
        "team_win_pct": (0.5,),
        "vegas_points_line": (AVERAGE, 15.0),
        "vegas_opening_line": ("vegas_points_line", AVERAGE, 15.0),
        "vegas_line_move": (0.0,),
        "avg_points_vs_opponent": (AVERAGE, 10.0),
        "minutes_avg_last_10": (28.0,),
        "ppm_avg_last_10": (0.4,),
    },
)
"""As the platform imputed its feature store until January 2026."""

POLICIES: Mapping[str, MissingPolicy] = {each.name: each for each in (NAN, PLATFORM_2026_01)}


def policy_of(text: str) -> MissingPolicy:
    """The policy with this name, or the one in a JSON file: feature -> number, other feature, or a list of these.

    Raises:
        ReleaseError: there is none with this name and no such file, or the file has another form.
    """
    if text in POLICIES:
        return POLICIES[text]
    path = Path(text)
    if not path.is_file():
        raise ReleaseError(
            f"--missing {text} is neither a policy ({', '.join(POLICIES)}) nor a file. A file is JSON: "
            '{"vegas_points_line": ["points_avg_season", 15.0], "minutes_avg_last_10": 28}.'
        )
    try:
        rules = json.loads(read_file(path, TEXT_BYTES))
        listed = {name: rule if isinstance(rule, list) else [rule] for name, rule in rules.items()}
        return MissingPolicy(name=path.name, rules=listed)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        faults = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ReleaseError(
            f"{path} is not a missing-value policy ({faults}). Write JSON: feature -> a number, another feature, or a "
            "list of these of which the first that is there counts."
        ) from error
