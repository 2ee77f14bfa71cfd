"""Leak checks: feature values must not contain the result of the game that they predict."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nba_ml.checks.check import CheckContext, Finding
from nba_ml.checks.worst_rows import first_rows, keys_of
from nba_ml.contract.season import EARLY_SEASON_DAYS, season_of
from nba_ml.data.feature_rows import KEY
from nba_ml.data.recomputation import averages_before
from nba_ml.data.snapshot import Snapshot
from nba_ml.model.metrics import FEWEST_DAYS, Z_95, interval_over_days

OPENING_MONTH = "-10"
"""Seasons open in October."""

MAX_CHANGE_CORRELATION = 0.3
"""Real months have 0.01 to 0.15, and 0.22 with few rows. With the game itself in the average it is 0.4 to 1."""

LEAST_CHANGES = 100
"""Rows of players with an earlier game in the month. Fewer say nothing."""


def opens_season(context: CheckContext) -> bool:
    """Whether the source has no earlier month of the month's season."""
    return not any(month < context.month and season_of(month) == season_of(context.month) for month in context.months)


def settled_rows(table: pa.Table, context: CheckContext) -> pa.Table:
    """The rows of a snapshot by which form can be measured: without the first fortnight of a season's first month.

    Before, there is one game or none to compare: trends are 0, and on the opening night every average is missing. The
    first version has no such rows.
    """
    has_early_rows = any(feature.group == "career" for feature in context.system.features.features)
    if table.num_rows == 0 or not (opens_season(context) and has_early_rows):
        return table
    days = table.column("game_date").to_numpy()
    return table.filter(pa.array(days >= days.min() + np.timedelta64(EARLY_SEASON_DAYS, "D")))


def recomputes(feature: str, window: int | None, limit: float) -> Callable[[Snapshot, CheckContext], Finding]:
    """Rule: at least `limit` of the rows have the average of the results before the game.

    Args:
        feature: name of the average.
        window: number of latest games in the average; None means the season so far.
    """

    def examine(snapshot: Snapshot, context: CheckContext) -> Finding:
        season, complete = _season_so_far(snapshot, context)
        again = averages_before(season, window, whole_season=complete)
        rows = snapshot.table.select([*KEY, feature]).to_pandas(date_as_object=False)
        both = rows.merge(again[again["known"]], on=KEY)
        off = (both[feature] - both["average"]).abs()
        agrees = (off <= context.limits.average_tolerance) | (both[feature].isna() & both["average"].isna())
        share = float(agrees.mean()) if len(both) else 1.0
        differing = both.assign(off=off)[~agrees].sort_values("off", ascending=False)
        return Finding(
            passed=share >= limit,
            metric=f"share of rows whose {feature} equals the average of the results before the game",
            value=round(share, 4) if len(both) else "the required results are missing",
            n=len(both),
            worst=first_rows(differing.drop(columns=["known", "off"]).rename(columns={"average": "recomputed"})),
            next_step=("" if share >= limit else _missing_results(snapshot, context))
            + f"{len(differing):,} of {len(both):,} rows differ. Check the worst rows: if the stored average is "
            "closer to the points of the game itself, the window includes the game that it predicts, and scores of "
            f"models trained on it are too good. Fix the query and compute {context.month} again.",
        )

    return examine


def _season_so_far(snapshot: Snapshot, context: CheckContext) -> tuple[pa.Table, bool]:
    """Results of the season up to the month without a gap, and whether they reach back to the season opener."""
    season = [month for month in context.months if season_of(month) == season_of(context.month)]
    found = (context.results(month) for month in reversed(season) if month < context.month)
    earlier = list(takewhile(lambda table: table is not None, found))
    complete = len(earlier) == len(season) - 1 and season[0].endswith(OPENING_MONTH)
    return pa.concat_tables([*earlier, snapshot.results]), complete


def _missing_results(snapshot: Snapshot, context: CheckContext) -> str:
    """Lists the season's missing results. Without them an average differs even if there is no leak."""
    season = {
        m: context.load("feature_store_snapshot", m) for m in context.months if season_of(m) == season_of(context.month)
    }
    season[context.month] = snapshot
    missing = [
        f"{month}: {value.counts.missing_results:,} player-games on {value.counts.missing_dates}"
        for month, value in season.items()
        if isinstance(value, Snapshot) and value.counts.missing_results
    ]
    return f"Results are missing ({'; '.join(missing)}): load these box scores first. " if missing else ""


def last_5_correlation(snapshot: Snapshot, context: CheckContext) -> Finding:
    """Rule: recent form does not predict a game too well. Pearson's r with its 95% interval."""
    limit = context.limits.max_last_5_correlation
    average, points = (snapshot.table.column(name).to_numpy() for name in ("points_avg_last_5", "points"))
    known = ~np.isnan(average)
    n = int(known.sum())
    if n < 4 or np.ptp(average[known]) == 0 or np.ptp(points[known]) == 0:
        return Finding(passed=True, metric="correlation", value="too few rows that differ", n=n)
    correlation = float(np.corrcoef(average[known], points[known])[0, 1])
    # Fisher's z: a final of 94 rows may exceed the limit by chance.
    centre, half = math.atanh(min(correlation, 1 - 1e-12)), Z_95 / math.sqrt(n - 3)
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    return Finding(
        passed=low <= limit,
        metric="correlation of points_avg_last_5 with the points scored",
        value=round(correlation, 4),
        n=n,
        interval=f"95% {low:.3f} to {high:.3f}",
        next_step=f"Form cannot predict a single game that well: the feature contains results of {context.month}. "
        "Check its window and the join of the target.",
    )


def change_correlation(snapshot: Snapshot, context: CheckContext) -> Finding:
    """Rule: no career feature changes, since the player's last game, with the result of this game.

    What this game adds to a weighted average belongs to the next row. The result is taken relative to the last 10
    games, whose average is recomputed by another check.
    """
    names = [feature.name for feature in context.system.features.features if feature.group == "career"]
    rows = snapshot.table.select([*KEY, "points", "points_avg_last_10", *names]).to_pandas(date_as_object=False)
    rows = rows.sort_values(KEY, ignore_index=True)
    result = (rows["points"] - rows["points_avg_last_10"]).to_numpy()
    changes = rows[names].to_numpy() - rows.groupby("player_lookup")[names].shift().to_numpy()
    found: list[dict[str, Any]] = [
        {"feature": name, **measured}
        for name, change in zip(names, changes.T, strict=True)
        if (measured := _correlation(change, result)) is not None
    ]
    found.sort(key=lambda each: -each["correlation"])
    above = [each for each in found if each["at least"] > MAX_CHANGE_CORRELATION]
    return Finding(
        passed=not above,
        metric="largest correlation of a feature's change since the player's last game with the points of this game",
        value=round(found[0]["correlation"], 4) if found else "too few rows that differ",
        n=found[0]["n"] if found else 0,
        interval=f"95% from {found[0]['at least']:.3f}" if found else "",
        worst=above,
        next_step="A feature that moves with the result contains the game that it predicts. Check the window of "
        f"{', '.join(each['feature'] for each in above)}, fix the query, and compute {context.month} again.",
    )


def _correlation(change: npt.NDArray[np.float64], result: npt.NDArray[np.float64]) -> dict[str, Any] | None:
    """Pearson's r and the low end of its 95% interval; None for fewer than 100 rows, or rows that do not differ."""
    known = ~np.isnan(change) & ~np.isnan(result)
    n = int(known.sum())
    if n < LEAST_CHANGES or np.ptp(change[known]) == 0 or np.ptp(result[known]) == 0:
        return None
    correlation = float(np.corrcoef(change[known], result[known])[0, 1])
    low = math.tanh(math.atanh(min(correlation, 1 - 1e-12)) - Z_95 / math.sqrt(n - 3))
    return {"correlation": round(correlation, 4), "at least": round(low, 4), "n": n}


def line_error(snapshot: Snapshot, context: CheckContext) -> Finding:
    """Rule: on the same rows, the line beats the season average by a plausible amount."""
    limits = context.limits
    names = ("vegas_points_line", "points_avg_season", "points", "game_date")
    table = settled_rows(snapshot.table, context)  # an average of one or two games is far behind any line
    line, season, points, days = (table.column(name).to_numpy() for name in names)
    known = ~np.isnan(line) & ~np.isnan(season)
    metric = "relative amount by which the line's MAE is below the season average's"
    n = int(known.sum())
    if n < limits.min_rows_with_line or len(np.unique(days[known])) < FEWEST_DAYS:
        return Finding(passed=True, metric=metric, value="too few lines to compare", n=n)
    error_of_line, error_of_season = (np.abs(each - points)[known] for each in (line, season))
    mae = float(error_of_season.mean())
    interval = interval_over_days(error_of_season - error_of_line, days[known])
    low, high = interval.low / mae, interval.high / mae
    better = (error_of_season - error_of_line).mean() > 0
    passed = low <= limits.line_error[1] and high >= limits.line_error[0]
    suspicious = np.argsort(error_of_line if better else -error_of_line, kind="stable")[:5]
    rows = [] if passed else np.flatnonzero(known)[suspicious].tolist()
    return Finding(
        passed=passed,
        metric=metric,
        value=round(float((error_of_season - error_of_line).mean()) / mae, 4),
        n=n,
        interval=f"95% {low:.3f} to {high:.3f}",
        worst=[
            {**key, "line": line[row], "points": points[row]}
            for key, row in zip(keys_of(table, rows), rows, strict=True)
        ],
        next_step=f"The line's MAE is {error_of_line.mean():.2f} points, the season average's {mae:.2f} on the same "
        + (
            f"{n:,} rows. No book is that good before tip-off: use the last snapshot before the game starts."
            if better
            else f"{n:,} rows. No book is that bad: look for placeholders and for lines of another statistic."
        ),
    )
