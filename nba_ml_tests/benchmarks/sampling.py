"""What sampling by page does to accuracy: walk-forward over 2021-22 to 2023-24, against XGBoost's sampling.

    python -m nba_ml_tests.benchmarks.sampling [--every N] [--page-rows N] [--threads N]

Both recipes find their rounds by the split and train anew on all rows, on every N-th month, and score the months that
follow. The pages are smaller than those of a large history, so that their sample repeats as often. Prints Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model import paged
from nba_ml.model.fitting import Hyperparameters, InMemory, Recipe, Samples, predict
from nba_ml.model.metrics import interval_over_days
from nba_ml_tests.benchmarks.accuracy import CHOOSING_SEASONS, Floats, Months, Sides


def missed(recipe: Recipe, seed: int, sides: Sides, rows: Samples, threads: int | None) -> Floats:
    """Absolute errors (n,) on rows of a model that a recipe trained on the sides."""
    parameters = Hyperparameters(seed=seed)
    fitted = recipe.fit(sides.train, sides.early_stopping, parameters, V2_33FEATURES, threads)
    booster = recipe.fit_all(sides.everything, fitted.best_iteration + 1, parameters, V2_33FEATURES, threads)
    return np.abs(predict(booster, rows.features, threads).astype(np.float64) - rows.points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--page-rows", type=int, default=2048)
    parser.add_argument("--threads", type=int)
    chosen = parser.parse_args()
    paged.PAGE_ROWS = chosen.page_rows
    recipes: dict[str, tuple[Recipe, int]] = {
        "XGBoost's": (InMemory(), 42),
        "XGBoost's, another seed": (InMemory(), 43),
        "by page": (paged.Paged(external=False), 42),
    }
    errors: dict[str, list[Floats]] = {name: [] for name in recipes}
    months, days = Months(chosen.threads), []
    for trained_on, scored in months.walk(months.of_seasons(CHOOSING_SEASONS), chosen.every):
        rows = months.rows(scored)
        days.append(rows.dates)
        for name, (recipe, seed) in recipes.items():
            errors[name].append(missed(recipe, seed, months.sides(trained_on), rows, chosen.threads))
        print(trained_on, *(f"{name} {each[-1].mean():.4f}" for name, each in errors.items()), flush=True)
    first = np.concatenate(errors["XGBoost's"])
    print(f"\n{len(first):,} rows of {', '.join(CHOOSING_SEASONS)}; pages of {chosen.page_rows:,} rows.")
    print("\n| sampling | MAE | minus the first, 95% interval over days |\n|---|---|---|")
    for name, each in errors.items():
        size = first if name == "XGBoost's" else np.concatenate(each)
        interval = interval_over_days(size - first, np.concatenate(days))
        difference = f"{(size - first).mean():+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
        print(f"| {name} | {size.mean():.4f} | {difference if size is not first else ''} |")


if __name__ == "__main__":
    main()
