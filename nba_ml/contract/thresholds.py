"""Every limit that a check holds a month to, in one place, each with where it comes from.

A user who needs others writes the names that differ into a TOML file and points NBA_ML_THRESHOLDS to it. What
differs from these defaults is written into the manifest of every model published under it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nba_ml.contract.errors import SettingsError

SUBSTANTIAL, COMPLETE = 0.80, 0.95
"""Coverage from which a month may be trained on, and from which it is done. Below 80% the rows that are there
are no fair sample of the month."""

BREAK_EVEN = 110 / 210
"""Share of bets that must be right at the usual odds of -110: 110 are risked to win 100. 52.38%."""

Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0)]
Range = tuple[float, float]


class Thresholds(BaseModel):
    """The limits. The description of each is its source; points are of the box score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_coverage: Share = Field(SUBSTANTIAL, description="The backfill calls a month substantial from here.")
    complete_coverage: Share = Field(COMPLETE, description="The backfill calls a month complete from here.")
    min_recomputed_agreement: Share = Field(
        0.99,
        description="Share of rows whose averages equal those recomputed from results; the hundredth row allows for "
        "corrected box scores.",
    )
    average_tolerance: Points = Field(0.01, description="A recomputed average may differ by rounding to two decimals.")
    max_last_5_correlation: Share = Field(
        0.85,
        description="Correlation of last-5 average and target. Full months have 0.65 to 0.77, a June of 147 rows 0.85; "
        "with the game itself in the window 0.80 to 0.89, so recomputing is the sharper check of the two.",
    )
    line_error: Range = Field(
        (-0.15, 0.15),
        description="Share by which the line's MAE lies below the season average's on the same rows. Real lines have "
        "0.02 to 0.05; lines that know the result 0.2 and more; placeholders are far worse than the average.",
    )
    min_rows_with_line: int = Field(
        200, ge=0, description="With fewer lines, or on fewer than 5 dates, the two MAEs cannot be told apart."
    )
    min_lines_matched: Share = Field(
        0.8,
        description="Share of the lines that are the line of a player who appeared. Under it they were matched by "
        "another rule than they were written by: other ids, or the date in UTC, which moves every evening game.",
    )
    complete_lines_matched: Share = Field(
        0.95, description="The shipped months match 98.0% to 98.6%; the rest are nicknames without an id."
    )
    max_psi: Points = Field(
        0.25,
        description="Population stability index of a feature against the same calendar month of earlier seasons. From "
        "0.25 a population is taken for another one (Siddiqi, Credit Risk Scorecards, 2006); 29 of 32 real months "
        "stay below 0.25, the others are those in which lines began.",
    )
    max_prediction_psi: Points = Field(
        0.15,
        description="The same of the predicted points, against the same calendar months: 0.10 at most in 2021-22 to "
        "2023-24, 0.055 in the unseen 2024-25.",
    )
    min_rows_for_psi: int = Field(
        500, ge=0, description="With 100 rows of two teams, as in June, ten bins differ by chance alone."
    )
    split_share_tolerance: Share = Field(0.02, description="Cuts fall between dates; one date is under 2% of a season.")
    min_rows: int = Field(1_000, ge=0, description="Below, validation has under 200 rows and its MAE says nothing.")
    few_rows: int = Field(10_000, ge=0, description="Below, 33 features overfit: measured on the first months.")
    max_validation_mae: Points = Field(
        5.0, description="The season average alone reaches 4.73 on all players (walk-forward over 37 months)."
    )
    good_validation_mae: Points = Field(4.5, description="What this recipe reaches on a full unseen season.")
    leak_mae: Points = Field(
        4.0,
        description="Over all players no clean model was measured below 4.4; the leaky ones were celebrated at 3.4.",
    )
    min_gain: float = Field(
        0.0, description="Points of MAE that the low end of the gain's 95% interval over a baseline must exceed."
    )
    max_refit_distance: Points = Field(
        1.5,
        description="Mean distance of the shipped booster, fitted on all rows, from the measured one. The shipped "
        "months have 0.36 to 1.06, the first season's most.",
    )
    max_train_gap: Points = Field(1.5, description="Validation MAE above train MAE. Clean months have 0.1 to 1.1.")
    results_above_prediction: Range = Field(
        (0.45, 0.55), description="A median has half of the results above it; 50.0% and 48.3% on two unseen seasons."
    )
    bias: Range = Field(
        (-1.2, 0.6),
        description="Points are skewed, so a median lies below the mean: -0.73 and -0.41 on two unseen seasons.",
    )
    max_tier_bias: Points = Field(1.5, description="A tier that is this far off is a group of players priced wrongly.")
    prediction_range: Range = Field((0.0, 60.0), description="The prediction worker's own bounds, to which it clamps.")
    prediction_overshoot: Points = Field(
        1.0,
        description="How far a booster's own output may lie outside those bounds. Trees overshoot where players score "
        "nothing: the 36 real models go down to -0.44.",
    )
    interval_coverage: Range = Field((0.78, 0.82), description="80% of results lie between the 10% and 90% quantiles.")
    tier_coverage: Range = Field((0.75, 0.85), description="The same in a tier, which has fewer rows.")
    max_grade_drift: Share = Field(0.15, description="MAE of a month against its model's validation MAE, relative.")
    max_line_bias: Points = Field(
        1.5, description="Mean prediction minus line. A retrain with a better MAE lost money through such a bias."
    )
    break_even_hit_rate: Share = Field(
        BREAK_EVEN, description="Share of bets that must be right at odds of -110: 110 are risked to win 100."
    )
    max_set_aside: Share = Field(
        0.05,
        description="Share of a slate's players without a prediction. No row of the shipped dates breaks the contract; "
        "a moving average that served everybody would leave out the debutants, over 5% on 4 of 777 dates, all of "
        "December 2021.",
    )
    promotion_margin: Points = Field(
        0.02,
        description="Points of MAE by which a candidate may be worse than the champion, at the low end of the paired "
        "gain's interval. A sixth of the gain over the season average; no retraining of the shipped seasons lies below "
        "-0.015 on the rows held out, as their intervals are 0.01 to 0.02 to either side.",
    )
    min_rows_to_promote: int = Field(
        1_000, ge=1, description="Below, the interval of two months' models alone is wider than the margin (0.03)."
    )
    rollout_margin: Points = Field(
        0.05,
        description="The same for a step of a rollout, which is judged on a week or two: there the interval is 0.02 "
        "to 0.03 to either side, also against CatBoost, and a moving average loses 0.08 and more.",
    )
    min_rows_per_step: int = Field(
        1_000, ge=1, description="Graded rows that each step of a rollout needs: a week of games."
    )

    min_external_rows: int = Field(
        2_000,
        ge=1,
        description="Stored player-games after the last that a registered model was given: half a month. There the "
        "interval of its gain over the season average is 0.05 to 0.08 to either side, and what a model gains is 0.12.",
    )
    external_margin: Points = Field(
        0.02,
        description="Points of MAE by which a registered model may be worse than the season average, at the low end of "
        "the paired gain's interval: the margin of a promotion.",
    )
    external_bias: Range = Field(
        (-2.0, 2.0),
        description="Mean prediction minus result of a registered model. A median lies 0.4 to 0.8 low, the season "
        "average up to 1.2 in a month; a model of minutes is 13 too high.",
    )
    min_external_spread: Share = Field(
        0.5,
        description="Standard deviation of a registered model's predictions, as a share of the season average's, which "
        "is 6.1 to 6.9 points in ten months. A constant has none; CatBoosts of two months have 0.93 to 0.99.",
    )
    min_external_correlation: Share = Field(
        0.5,
        description="Correlation of a registered model's predictions with the results: the season average's is 0.65 to "
        "0.76 in ten months of regular season.",
    )

    max_champion_age_days: int = Field(
        45,
        ge=1,
        description="Days with games after the last one that the champion was given; after the Finals until October "
        "none count. The next model comes on the 2nd after the next month: 33 days, and twelve to mend one that fails.",
    )
    max_retraining_delay_days: int = Field(
        7,
        ge=1,
        description="Days after the end of a month until its model is there: the schedule asks on the 2nd, and a "
        "failure that was told leaves five to mend it.",
    )

    @classmethod
    def from_file(cls, path: Path) -> Thresholds:
        """The defaults with what a TOML file changes.

        Raises:
            SettingsError: no such file, not TOML, an unknown name, or a value that cannot be.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text()))
        except OSError as error:
            raise SettingsError(
                f"NBA_ML_THRESHOLDS names {path}, which cannot be read ({error.strerror}). Give a TOML file of limits, "
                "or leave it unset for the shipped ones."
            ) from error
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise SettingsError(f"{path}: {said}. All names are in docs/pages/reference/limits.md.") from error
        except ValueError as error:
            raise SettingsError(f"{path} is no TOML file of `name = value` lines: {error}.") from error

    def changed(self) -> dict[str, Any]:
        """The limits that are not the shipped ones: name -> value."""
        shipped = type(self)().model_dump(mode="json")
        return {name: value for name, value in self.model_dump(mode="json").items() if value != shipped[name]}
