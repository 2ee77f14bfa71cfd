"""Rules that a leak breaks: what is known before a game, held to the results that it must not know."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import takewhile

import numpy as np
import pyarrow as pa

from nba_ml.checks.check import CheckContext, Finding
from nba_ml.checks.worst_rows import first_rows, keys_of
from nba_ml.contract.season import season_of
from nba_ml.data.recomputation import KEY, averages_before
from nba_ml.data.snapshot import Snapshot
from nba_ml.model.metrics import Z_95, interval_over_days

OPENING_MONTH = "-10"
"""Seasons open in October."""

LEAST_DATES_WITH_LINES = 5
"""An interval over days needs days."""


def recomputes(feature: str, window: int | None, limit: float) -> Callable[[Snapshot, CheckContext], Finding]:
    """The rule that a stored average is that of the results before the game, in at least `limit` of the rows.

    Args:
        feature: the average's name.
        window: the latest games that it takes; None is the season so far.
    """

    def examine(snapshot: Snapshot, context: CheckContext) -> Finding:
        season, whole = _season_so_far(snapshot, context)
        again = averages_before(season, window, whole_season=whole)
        rows = snapshot.table.select([*KEY, feature]).to_pandas(date_as_object=False)
        both = rows.merge(again[again["known"]], on=KEY)
        off = (both[feature] - both["average"]).abs()
        agrees = (off <= context.limits.average_tolerance) | (both[feature].isna() & both["average"].isna())
        share = float(agrees.mean()) if len(both) else 1.0
        differing = both.assign(off=off)[~agrees].sort_values("off", ascending=False)
        return Finding(
            passed=share >= limit,
            metric=f"share of rows whose {feature} equals the average of the results before the game",
            value=round(share, 4) if len(both) else "the results that it needs are not there",
            n=len(both),
            worst=first_rows(differing.drop(columns=["known", "off"]).rename(columns={"average": "recomputed"})),
            next_step=("" if share >= limit else _missing_results(snapshot, context))
            + f"{len(differing):,} of {len(both):,} rows differ. Look at the worst: if the stored average lies "
            "towards the points of the game itself, the window includes the game that it predicts, and every score "
            f"of a model trained on it is too good. Mend the query, compute {context.month} again.",
        )

    return examine


def _season_so_far(snapshot: Snapshot, context: CheckContext) -> tuple[pa.Table, bool]:
    """Results of the season up to the month, and whether they reach back to its opening: not beyond a hole."""
    season = [month for month in context.months if season_of(month) == season_of(context.month)]
    found = (context.results(month) for month in reversed(season) if month < context.month)
    there = list(takewhile(lambda table: table is not None, found))
    whole = len(there) == len(season) - 1 and season[0].endswith(OPENING_MONTH)
    return pa.concat_tables([*there, snapshot.results]), whole


def _missing_results(snapshot: Snapshot, context: CheckContext) -> str:
    """Names the results of the season that are missing: without them an average cannot be recomputed, leak or not."""
    season = {
        m: context.load("feature_store_snapshot", m) for m in context.months if season_of(m) == season_of(context.month)
    }
    season[context.month] = snapshot
    named = [
        f"{month}: {value.counts.missing_results:,} player-games on {value.counts.missing_dates}"
        for month, value in season.items()
        if isinstance(value, Snapshot) and value.counts.missing_results
    ]
    return f"Results are missing ({'; '.join(named)}): load these box scores first. " if named else ""


def last_5_correlation(snapshot: Snapshot, context: CheckContext) -> Finding:
    """The rule that recent form says no more about a game than it honestly can: Pearson's r, with its 95% interval."""
    limit = context.limits.max_last_5_correlation
    average, points = (snapshot.table.column(name).to_numpy() for name in ("points_avg_last_5", "points"))
    there = ~np.isnan(average)
    n = int(there.sum())
    if n < 4 or np.ptp(average[there]) == 0 or np.ptp(points[there]) == 0:
        return Finding(passed=True, metric="correlation", value="too few rows that differ", n=n)
    correlation = float(np.corrcoef(average[there], points[there])[0, 1])
    # Fisher's z: a final of 94 rows may lie above the limit by chance.
    centre, half = math.atanh(min(correlation, 1 - 1e-12)), Z_95 / math.sqrt(n - 3)
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    return Finding(
        passed=low <= limit,
        metric="correlation of points_avg_last_5 with the points scored",
        value=round(correlation, 4),
        n=n,
        interval=f"{low:.3f} to {high:.3f} (95%, Fisher)",
        next_step=f"Form says less than that about a single game. Something of the results of {context.month} is in "
        "the feature: look at its window, and at how the target was joined.",
    )


def line_error(snapshot: Snapshot, context: CheckContext) -> Finding:
    """The rule that the line is better than the season average, on the same rows, by about as much as a book can be."""
    limits = context.limits
    names = ("vegas_points_line", "points_avg_season", "points")
    line, season, points = (snapshot.table.column(name).to_numpy() for name in names)
    days = snapshot.table.column("game_date").to_numpy()
    there = ~np.isnan(line) & ~np.isnan(season)
    metric = "share by which the line's MAE lies below the season average's"
    n = int(there.sum())
    if n < limits.min_rows_with_line or len(np.unique(days[there])) < LEAST_DATES_WITH_LINES:
        return Finding(passed=True, metric=metric, value="too few lines to tell", n=n)
    error_of_line, error_of_season = (np.abs(each - points)[there] for each in (line, season))
    mae = float(error_of_season.mean())
    interval = interval_over_days(error_of_season - error_of_line, days[there])
    low, high = interval.low / mae, interval.high / mae
    better = (error_of_season - error_of_line).mean() > 0
    passed = low <= limits.line_error[1] and high >= limits.line_error[0]
    most_telling = np.argsort(error_of_line if better else -error_of_line, kind="stable")[:5]
    rows = [] if passed else np.flatnonzero(there)[most_telling].tolist()
    return Finding(
        passed=passed,
        metric=metric,
        value=round(float((error_of_season - error_of_line).mean()) / mae, 4),
        n=n,
        interval=f"{low:.3f} to {high:.3f} (95%, bootstrap over days)",
        worst=[
            {**key, "line": line[row], "points": points[row]}
            for key, row in zip(keys_of(snapshot.table, rows), rows, strict=True)
        ],
        next_step=f"The line's MAE is {error_of_line.mean():.2f} points, the season average's {mae:.2f} on the same "
        + (
            f"{n:,} rows. No book is that good before tip-off: take the last snapshot before the game starts."
            if better
            else f"{n:,} rows. No book is that bad: look for placeholders, and for lines of another statistic."
        ),
    )
