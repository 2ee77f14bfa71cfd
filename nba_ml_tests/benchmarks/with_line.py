"""What the published point is worth where there is a line: confirmed once on the months that have lines.

    python -m nba_ml_tests.benchmarks.with_line [--threads N] [--output FILE]

Each month is predicted by the model of the month before, as shipped: refitted on all rows, with the trust in its
difference from the line that its early-stopping rows have taught. Nothing is chosen. Writes its part of `accuracy.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.calibration import Calibration, fit_distribution
from nba_ml.model.fitting import Hyperparameters, Samples, fit, fit_all, predict
from nba_ml.model.metrics import interval_over_days
from nba_ml.model.published import published_columns
from nba_ml.model.recommendation import publish_points
from nba_ml_tests.benchmarks.accuracy import CONFIRMING_SEASON, REPORT, Months, Sides, write_part

Floats = npt.NDArray[np.float64]

LINE, SEASON_AVERAGE = (V2_33FEATURES.index(name) for name in ("vegas_points_line", "points_avg_season"))


@dataclass(frozen=True, slots=True)
class Measured:
    """Absolute errors (n, 4) of rows with a line and a season average, with their dates (n,), and the trust.

    The errors are those of the line, the season average, the model's own number and the published point.
    """

    name: str
    trust: str
    errors: Floats
    days: npt.NDArray[np.datetime64]


def measure(name: str, booster: bytes, calibration: Calibration, rows: Samples, threads: int) -> Measured:
    """The errors of a model on rows that are new to it."""
    line, season = (rows.features[:, at].astype(np.float64) for at in (LINE, SEASON_AVERAGE))
    published = published_columns(predict(booster, rows.features, threads), line, calibration)
    known = ~np.isnan(line) & ~np.isnan(season)
    stated = (line, season, published["model_points"], published["predicted_points"])
    errors = np.abs(np.stack(stated, axis=1).astype(np.float64) - rows.points[:, None])
    return Measured(name, f"{calibration.line_trust:.3f}", errors[known], rows.dates[known])


def trained(sides: Sides, threads: int) -> tuple[bytes, bytes, Calibration]:
    """The measured booster, the shipped one, and what is learnt from the early-stopping rows."""
    held, parameters = sides.early_stopping, Hyperparameters()
    fitted = fit(sides.train, held, parameters, V2_33FEATURES, threads)
    shipped = fit_all(sides.everything, fitted.best_iteration + 1, parameters, V2_33FEATURES, threads)
    predicted = publish_points(predict(fitted.booster, held.features, threads))
    lines = held.features[:, LINE].astype(np.float64)
    return fitted.booster, shipped, fit_distribution(predicted, held.points.astype(np.float64), lines)


def measured_months(months: Months, threads: int) -> Iterator[Measured]:
    """The months of the season that have lines, then the last model's validation rows that have."""
    for before, [scored] in months.walk(months.of_seasons([CONFIRMING_SEASON]), 1):
        rows = months.rows([scored])
        if not np.isnan(rows.features[:, LINE]).all():
            _, shipped, calibration = trained(months.sides(before), threads)
            yield measure(scored, shipped, calibration, rows, threads)
    sides = months.sides(months.names[-1])
    booster, _, calibration = trained(sides, threads)
    yield measure(f"validation of {months.names[-1]}", booster, calibration, sides.validation, threads)


def report(months: Months, threads: int) -> str:
    """The generated part of the report."""
    heads = ("rows of", "n", "trust", "the line", "season average", "model's own", "published", "gain on the line")
    lines = [f"| {' | '.join(heads)} | 95% interval |", "|---" * (len(heads) + 1) + "|"]
    for each in measured_months(months, threads):
        print(f"  {each.name}: trust {each.trust}, {len(each.errors):,} rows with a line", flush=True)
        lines.append(_row(each))
    paragraphs = (
        f"# With a line, confirming once: {CONFIRMING_SEASON}",
        "Written by `python -m nba_ml_tests.benchmarks.with_line`. Each month by the model of the month before, as "
        "shipped; then the last model, as measured, on its validation rows. MAE in points on the rows that have a line "
        "and a season average. The published point is the line plus the trust times the model's difference from it. "
        "The trust is learnt on the early-stopping rows that have lines: it is 0 while there are none.",
        "\n".join(lines),
    )
    return "\n\n".join(paragraphs)


def _row(measured: Measured) -> str:
    errors = measured.errors
    gain = errors[:, 0] - errors[:, 3]
    interval = interval_over_days(gain, measured.days)
    means = " | ".join(f"{mean:.4f}" for mean in errors.mean(axis=0))
    ends = f"{interval.low:+.4f} to {interval.high:+.4f}"
    return f"| {measured.name} | {len(errors):,} | {measured.trust} | {means} | {gain.mean():+.4f} | {ends} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.with_line", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each training; default: 1")
    parser.add_argument("--output", type=Path, default=REPORT, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    write_part(options.output, "with line", report(Months(options.threads), options.threads))


if __name__ == "__main__":
    main()
