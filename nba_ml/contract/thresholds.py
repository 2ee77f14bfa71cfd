"""The limits of all checks, each with its source.

To change limits, write their names and values to a TOML file and set NBA_ML_THRESHOLDS to its path. The manifest of
every model records the limits that differed from these defaults when it was published.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.limits import TEXT_BYTES
from nba_ml.contract.reading import read_text

SUBSTANTIAL, COMPLETE = 0.80, 0.95
"""Minimum coverage to train on a month, and to call it complete. Below 80% the rows are not a representative sample
of the month."""

BREAK_EVEN = 110 / 210
"""Share of bets that must be right at the usual odds of -110 (risk 110 to win 100): 52.38%."""

Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0)]


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]:g} is above {ends[1]:g}; give the low end first")
    return ends


Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_ordered)]  # TOML has lists


class Thresholds(BaseModel):
    """The limits. Each description gives the source of its limit; points are box-score points."""

    # Strict: `true` would be a limit of 1.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    min_coverage: Share = Field(SUBSTANTIAL, description="From this coverage the backfill calls a month substantial.")
    complete_coverage: Share = Field(COMPLETE, description="From this coverage the backfill calls a month complete.")
    min_recomputed_agreement: Share = Field(
        0.99,
        description="Share of rows whose averages match those recomputed from results. The remaining 1% allows for "
        "corrected box scores.",
    )
    average_tolerance: Points = Field(0.01, description="Allows for averages rounded to two decimals.")
    max_last_5_correlation: Share = Field(
        0.85,
        description="Correlation of the last-5 average with the target: 0.65 to 0.77 in full months, 0.85 "
        "in a June of 147 rows. With the game itself in the window it is 0.80 to 0.89, so recomputing the averages is "
        "the stricter check.",
    )
    line_error: Range = Field(
        (-0.15, 0.15),
        description="Relative amount by which the line's MAE is below the season average's on the same rows. Real "
        "lines reach 0.02 to 0.05, lines that contain the result 0.2 or more. Placeholders are far worse "
        "than the average.",
    )
    min_rows_with_line: int = Field(
        200,
        ge=0,
        description="With fewer lines, or fewer than 5 dates, the difference of the two MAEs is not significant.",
    )
    min_lines_matched: Share = Field(
        0.8,
        description="Share of the lines that match a player who appeared. A lower share means that lines and box "
        "scores use different keys: other player ids, or UTC dates, which shift every evening game by a day.",
    )
    min_unmatched_lines: int = Field(
        10,
        ge=1,
        description="Fewer unmatched lines are single players, whatever their share. Keys that differ lose whole "
        "games: half of the 555 shipped games with lines have 11 or more.",
    )
    complete_lines_matched: Share = Field(
        0.95, description="The shipped months match 98.0% to 98.6%. The rest are nicknames without an id."
    )
    max_psi: Points = Field(
        0.25,
        description="Population stability index of a feature against the same calendar month of earlier seasons. From "
        "0.25 a population counts as shifted (Siddiqi, Credit Risk Scorecards, 2006). 29 of 32 real months stay below "
        "0.25; in the other three, lines began.",
    )
    max_prediction_psi: Points = Field(
        0.15,
        description="The same index for the predicted points: at most 0.10 in 2021-22 to 2023-24, and 0.055 in the "
        "unseen 2024-25.",
    )
    min_rows_for_psi: int = Field(
        500, ge=0, description="With 100 rows of two teams, as in June, ten bins differ by chance."
    )
    split_share_tolerance: Share = Field(
        0.02, description="The split cuts between dates, and one date is under 2% of a season."
    )
    min_rows: int = Field(
        1_000, ge=0, description="With fewer rows, validation has under 200 and its MAE is meaningless."
    )
    few_rows: int = Field(
        10_000, ge=0, description="With fewer rows, 33 features overfit: measured on the first months."
    )
    max_validation_mae: Points = Field(
        5.0, description="The season average reaches 4.73 on all players (walk-forward over 37 months)."
    )
    good_validation_mae: Points = Field(4.5, description="This configuration reaches it on a full unseen season.")
    leak_mae: Points = Field(
        4.0,
        description="On all players, no clean model measured below 4.4. Models with a leak were reported at 3.4.",
    )
    min_gain: float = Field(
        0.0, description="The low end of the 95% interval of the MAE gain over a baseline must exceed this, in points."
    )
    max_refit_distance: Points = Field(
        1.5,
        description="Mean absolute difference between the predictions of the shipped booster, fitted on all rows, and "
        "the measured one: 0.36 to 1.06 in the shipped months, highest in the first season.",
    )
    max_train_gap: Points = Field(1.5, description="Validation MAE minus train MAE: 0.1 to 1.1 in clean months.")
    results_above_prediction: Range = Field(
        (0.45, 0.55), description="Half of the results lie above a median: 50.0% and 48.3% in two unseen seasons."
    )
    bias: Range = Field(
        (-1.2, 0.6),
        description="Points are skewed, so a median is below the mean: -0.73 and -0.41 in two unseen seasons.",
    )
    max_tier_bias: Points = Field(1.5, description="A larger bias means that a whole group of players is mispriced.")
    prediction_range: Range = Field((0.0, 60.0), description="The prediction worker clamps to these bounds.")
    prediction_overshoot: Points = Field(
        1.0,
        description="How far a booster's raw output may lie outside those bounds. Trees overshoot for players who "
        "score nothing: the 36 real models reach -0.44.",
    )
    interval_coverage: Range = Field((0.78, 0.82), description="80% of results lie between the 10% and 90% quantiles.")
    tier_coverage: Range = Field((0.75, 0.85), description="The same within a tier, which has fewer rows.")
    max_grade_drift: Share = Field(
        0.15, description="Relative difference of a month's MAE from its model's validation MAE."
    )
    max_line_bias: Points = Field(
        1.5,
        description="Mean of prediction minus line. A retrained model with a better MAE lost money through "
        "such a bias.",
    )
    break_even_hit_rate: Share = Field(
        BREAK_EVEN, description="Share of bets that must be right at odds of -110 (risk 110 to win 100)."
    )
    max_set_aside: Share = Field(
        0.05,
        description="Share of a slate's players without a prediction. No row of the shipped dates breaks the "
        "contract. A moving average could not predict debuts: over 5% on 4 of 777 dates, all in December 2021.",
    )
    promotion_margin: Points = Field(
        0.02,
        description="A candidate's MAE may be worse than the champion's by this many points, at the low end of the "
        "paired gain's interval. It is a sixth of the gain over the season average. On held-out rows, no retraining "
        "of the shipped seasons is below -0.015; their intervals are +-0.01 to 0.02.",
    )
    min_rows_to_promote: int = Field(
        1_000,
        ge=1,
        description="With fewer rows, the interval between two months' models is wider (0.03) than the margin.",
    )
    rollout_margin: Points = Field(
        0.05,
        description="The same for a step of a rollout, which covers a week or two. The interval is then +-0.02 to "
        "0.03, also against CatBoost. A moving average loses 0.08 or more.",
    )
    min_rows_per_step: int = Field(
        1_000, ge=1, description="Graded rows that each step of a rollout needs: a week of games."
    )

    min_external_rows: int = Field(
        2_000,
        ge=1,
        description="Stored player-games after the last one given to a registered model: half a month. The interval "
        "of its gain over the season average is then +-0.05 to 0.08, and a model gains 0.12.",
    )
    external_margin: Points = Field(
        0.02,
        description="A registered model's MAE may be worse than the season average's by this many points, at the low "
        "end of the paired gain's interval: the same margin as for a promotion.",
    )
    external_bias: Range = Field(
        (-2.0, 2.0),
        description="Mean of prediction minus result for a registered model. A median is 0.4 to 0.8 low, the season "
        "average up to 1.2 off in a month. A model of minutes is 13 too high.",
    )
    min_external_spread: Share = Field(
        0.5,
        description="Standard deviation of a registered model's predictions, as a share of the season average's (6.1 "
        "to 6.9 points in ten months). A constant has 0; CatBoost models of two months have 0.93 to 0.99.",
    )
    min_external_correlation: Share = Field(
        0.5,
        description="Correlation of a registered model's predictions with the results. The season average has 0.65 to "
        "0.76 in ten months of regular season.",
    )

    max_champion_age_days: int = Field(
        45,
        ge=1,
        description="Playing days since the last one given to the champion. Days between the Finals and October do not "
        "count. The next model comes on the 2nd after the next month: 33 days, plus 12 to fix a failure.",
    )
    max_retraining_delay_days: int = Field(
        7,
        ge=1,
        description="Days from the end of a month until its model exists. The schedule runs on the 2nd, which leaves "
        "five days to fix a reported failure.",
    )

    @classmethod
    def from_file(cls, path: Path) -> Thresholds:
        """The defaults with the changes of a TOML file.

        Raises:
            SettingsError: the file does not exist or is not TOML, or it has an unknown name or an invalid value.
        """
        try:
            return cls.model_validate(tomllib.loads(read_text(path, TEXT_BYTES)))
        except OSError as error:
            raise SettingsError(
                f"NBA_ML_THRESHOLDS is {path}, which cannot be read ({error.strerror or error}). Set it to a TOML file "
                "of limits, or unset it to use the defaults."
            ) from error
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{path}: {faults}. All names are in docs/pages/reference/limits.md.") from error
        except ValueError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}. Write one `name = value` per line.") from error

    def changed(self) -> dict[str, Any]:
        """The limits that differ from the defaults: name -> value."""
        shipped = type(self)().model_dump(mode="json")
        return {name: value for name, value in self.model_dump(mode="json").items() if value != shipped[name]}
