"""Checks of a frozen month: it keeps the contract, covers its games, and knows nothing of the results it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.checks.check import Check, Finding, Scene, Severity
from nba_ml.checks.thresholds import Thresholds
from nba_ml.core.contract import NOT_IN_BOX_SCORES, V2_33FEATURES, Feature
from nba_ml.core.digest import table_digest
from nba_ml.core.drift import population_stability_index
from nba_ml.core.feature_rows import contract_faults
from nba_ml.core.metrics import interval_over_days
from nba_ml.core.recomputation import KEY, averages_before
from nba_ml.core.season import season_of
from nba_ml.core.snapshot import Snapshot
from nba_ml.core.tables import snapshot_schema

ASSET = "feature_store_snapshot"

MAY_BE_ABSENT = (*NOT_IN_BOX_SCORES, "vegas_points_line")
"""Features that may be missing in a whole month: no source for them, or no book was followed."""

MAY_STAND_STILL = ("playoff_game", "back_to_back", "has_vegas_line")
"""Flags that are the same for everybody in a whole month by right: no playoffs before April, no second nights in
the conference finals, no lines."""

COARSE_UNITS = ("0/1", "level", "days", "games", "score")
ROWS_FOR_COARSE_UNITS = 500
"""A level or a number of days can be the same in every row of a final between two teams, not in a full month."""

SHARED_BY_A_TEAM = ("team", "opponent", "matchup")
"""Groups of features that a team's players share: thirty values a month, whose deciles differ by chance."""

OPENING_MONTH = "-10"
"""Seasons open in October."""

LEAST_DATES_WITH_LINES = 5
"""An interval over days needs days."""

Z_95 = 1.96


def _contract(snapshot: Snapshot, scene: Scene) -> Finding:
    expected, found = snapshot_schema(V2_33FEATURES), snapshot.table.schema
    differing = [f"column {f.name} {f.type}" for f in found if f not in list(expected)]
    differing += [f"column {name} is not there" for name in expected.names if name not in found.names]
    if not differing and found.names != expected.names:
        differing.append("the order of the columns")
    if table_digest(snapshot.table) != snapshot.digest:
        differing.append("the rows are not those of the digest")
    return Finding(
        passed=not differing,
        metric="differences from the contract",
        value=len(differing),
        n=snapshot.table.num_rows,
        worst=[{"difference": difference} for difference in differing],
        next_step=f"Materialise feature_store_snapshot for {scene.month} again with this version of the code.",
    )


def _unique_keys(snapshot: Snapshot, scene: Scene) -> Finding:
    keys = snapshot.table.select(KEY).group_by(KEY).aggregate([([], "count_all")])
    repeated = keys.filter(pc.greater(keys.column("count_all"), 1))
    return Finding(
        passed=repeated.num_rows == 0,
        metric="player-games that stand more than once",
        value=repeated.num_rows,
        n=snapshot.table.num_rows,
        worst=[{k: str(v) for k, v in row.items()} for row in repeated.slice(0, 5).to_pylist()],
        next_step=f"Find out which job wrote {scene.month} twice, remove the older rows, and materialise the month "
        "again.",
    )


def _ranges(snapshot: Snapshot, scene: Scene) -> Finding:
    found = contract_faults(_vectors(snapshot.table), V2_33FEATURES)
    faults = {row: fault for row, fault in enumerate(found) if fault}
    first = list(faults)[:5]
    return Finding(
        passed=not faults,
        metric="rows outside the contract's ranges or missing where forbidden",
        value=len(faults),
        n=snapshot.table.num_rows,
        worst=[{**key, "fault": faults[row]} for key, row in zip(_keys_of(snapshot.table, first), first, strict=True)],
        next_step=f"Materialise feature_store_snapshot for {scene.month} again: a snapshot taken by this code has no "
        "such row.",
    )


def _samples_are_results(snapshot: Snapshot, scene: Scene) -> Finding:
    rows = snapshot.table.select([*KEY, "points", "minutes_played"]).to_pandas(date_as_object=False)
    results = snapshot.results.to_pandas(date_as_object=False)
    both = rows.merge(results, on=KEY, how="left", suffixes=("", "_in_results"))
    agree = (both["points"] == both["points_in_results"]) & (
        both["minutes_played"] == both["minutes_played_in_results"]
    )
    wrong = both[~agree]
    return Finding(
        passed=wrong.empty,
        metric="samples whose points or minutes are not those of the box score, or who did not play",
        value=len(wrong),
        n=len(rows),
        worst=_rows(wrong),
        next_step=f"Find out what changed the targets of {scene.month}: only players with minutes above 0 are samples, "
        "with the points that they scored in that game. Then materialise the month again.",
    )


def _coverage(limit: float, *, blocks: bool) -> Check:
    def examine(snapshot: Snapshot, scene: Scene) -> Finding:
        counts = snapshot.counts
        return Finding(
            passed=counts.coverage >= limit,
            metric="coverage",
            value=round(counts.coverage, 4),
            n=counts.played,
            next_step=f"{counts.played - counts.covered:,} player-games of {scene.month} have no valid feature row: "
            "wait for the backfill to reach them, then materialise the month again.",
        )

    return Check(
        asset=ASSET,
        name="coverage" if blocks else "coverage_complete",
        severity=Severity.ERROR if blocks else Severity.WARN,
        blocking=blocks,
        stops_run=blocks,
        threshold=f"at least {limit:.0%} of the player-games played have a valid feature row",
        reason="A month that is half there is not a fair sample of its games."
        if blocks
        else f"The backfill calls a month complete at {limit:.0%}.",
        examine=examine,
    )


def _no_constant_column(snapshot: Snapshot, scene: Scene) -> Finding:
    table = snapshot.table
    constant = [
        {"feature": feature.name, "value in every row": _only_value(table.column(feature.name))}
        for feature in V2_33FEATURES.features
        if _should_vary(feature, table) and _distinct(table.column(feature.name)) < 2
    ]
    return Finding(
        passed=not constant,
        metric="features that are the same in every row",
        value=len(constant),
        n=table.num_rows,
        worst=constant,
        next_step=f"Find out why the feature store's job wrote one value for all of {scene.month} (a source that was "
        "empty, a default that was never replaced), compute the features again, and materialise the month.",
    )


def _should_vary(feature: Feature, table: pa.Table) -> bool:
    if feature.name in MAY_STAND_STILL or table.num_rows < 2:
        return False
    if feature.unit in COARSE_UNITS and table.num_rows < ROWS_FOR_COARSE_UNITS:
        return False
    return feature.name not in MAY_BE_ABSENT or _distinct(table.column(feature.name)) > 0


def _distinct(column: pa.ChunkedArray) -> int:
    """How many values other than NaN."""
    values = column.to_numpy()
    return len(np.unique(values[~np.isnan(values)]))


def _only_value(column: pa.ChunkedArray) -> str:
    values = column.to_numpy()
    there = values[~np.isnan(values)]
    return f"{there[0]:g}" if len(there) else "missing"


def _recomputed(name: str, feature: str, window: int | None, limit: float) -> Check:
    def examine(snapshot: Snapshot, scene: Scene) -> Finding:
        season, whole = _season_so_far(snapshot, scene)
        again = averages_before(season, window, whole_season=whole)
        rows = snapshot.table.select([*KEY, feature]).to_pandas(date_as_object=False)
        both = rows.merge(again[again["known"]], on=KEY)
        off = (both[feature] - both["average"]).abs()
        agrees = (off <= scene.limits.average_tolerance) | (both[feature].isna() & both["average"].isna())
        share = float(agrees.mean()) if len(both) else 1.0
        differing = both.assign(off=off)[~agrees].sort_values("off", ascending=False)
        return Finding(
            passed=share >= limit,
            metric=f"share of rows whose {feature} equals the average of the results before the game",
            value=round(share, 4) if len(both) else "the results that it needs are not there",
            n=len(both),
            worst=_rows(differing.drop(columns=["known", "off"]).rename(columns={"average": "recomputed"})),
            next_step=f"{len(differing):,} of {len(both):,} rows differ. Look at the worst: if the stored average lies "
            "towards the points of the game itself, the window includes the game that it predicts, and every score "
            f"of a model trained on it is too good. Mend the query, compute {scene.month} again.",
        )

    games = f"the player's last {window} games" if window else "the season so far"
    return Check(
        asset=ASSET,
        name=name,
        severity=Severity.ERROR,
        blocking=True,
        stops_run=True,
        threshold=f"{feature} equals the mean points of {games}, strictly before the date, in at least {limit:.0%} of "
        "the rows",
        reason="A window that includes the game it predicts once made a model look twice as good as it was.",
        examine=examine,
    )


def _season_so_far(snapshot: Snapshot, scene: Scene) -> tuple[pa.Table, bool]:
    """Results of the season up to the month, and whether they reach back to its opening: not beyond a hole."""
    season = [month for month in scene.months if season_of(month) == season_of(scene.month)]
    found = (scene.results(month) for month in reversed(season) if month < scene.month)
    there = list(takewhile(lambda table: table is not None, found))
    whole = len(there) == len(season) - 1 and season[0].endswith(OPENING_MONTH)
    return pa.concat_tables([*there, snapshot.results]), whole


def _last_5_correlation(snapshot: Snapshot, scene: Scene) -> Finding:
    limit = scene.limits.max_last_5_correlation
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
        next_step=f"Form says less than that about a single game. Something of the results of {scene.month} is in the "
        "feature: look at its window, and at how the target was joined.",
    )


def _line_flag(snapshot: Snapshot, scene: Scene) -> Finding:
    line, flag = (snapshot.table.column(name).to_numpy() for name in ("vegas_points_line", "has_vegas_line"))
    wrong = np.flatnonzero((flag == 1) == np.isnan(line)).tolist()
    return Finding(
        passed=not wrong,
        metric="rows with a line and no flag, or a flag and no line",
        value=len(wrong),
        n=len(line),
        worst=[
            {**key, "has_vegas_line": flag[row], "vegas_points_line": line[row]}
            for key, row in zip(_keys_of(snapshot.table, wrong[:5]), wrong, strict=False)
        ],
        next_step=f"Somebody filled in missing lines of {scene.month}. Materialise the month again: a snapshot taken "
        "by this code has no line where the flag is 0.",
    )


def _line_error(snapshot: Snapshot, scene: Scene) -> Finding:
    limits = scene.limits
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
            for key, row in zip(_keys_of(snapshot.table, rows), rows, strict=True)
        ],
        next_step=f"The line's MAE is {error_of_line.mean():.2f} points, the season average's {mae:.2f} on the same "
        + (
            f"{n:,} rows. No book is that good before tip-off: take the last snapshot before the game starts."
            if better
            else f"{n:,} rows. No book is that bad: look for placeholders, and for lines of another statistic."
        ),
    )


def _drift(snapshot: Snapshot, scene: Scene) -> Finding:
    metric = "largest PSI of a feature against the same month of earlier seasons"
    past = [each for each in scene.months if each < scene.month and each[-2:] == scene.month[-2:]]
    found = [scene.load(ASSET, month) for month in past]
    tables = [each.table for each in found if isinstance(each, Snapshot) and each.table.num_rows]
    if not tables:
        return Finding(passed=True, metric=metric, value="no earlier season to compare with", n=0)
    if snapshot.table.num_rows < scene.limits.min_rows_for_psi:
        return Finding(passed=True, metric=metric, value="too few rows to compare", n=snapshot.table.num_rows)
    reference = pa.concat_tables(tables)
    moved = {
        feature.name: population_stability_index(
            reference.column(feature.name).to_numpy(), snapshot.table.column(feature.name).to_numpy()
        )
        for feature in V2_33FEATURES.features
        if feature.group not in SHARED_BY_A_TEAM
    }
    ranked = sorted(moved.items(), key=lambda item: -item[1])
    named = ", ".join(name for name, psi in ranked if psi > scene.limits.max_psi)
    return Finding(
        passed=not named,
        metric=metric,
        value=round(ranked[0][1], 4),
        n=snapshot.table.num_rows,
        worst=[{"feature": name, "PSI": round(psi, 3)} for name, psi in ranked[:5]],
        next_step=f"{scene.month} looks like another population in {named}. If a source began or ended (lines, injury "
        "reports), that is why; if nothing is known to have changed, look at the job that writes these features.",
    )


def _vectors(table: pa.Table) -> npt.NDArray[np.float64]:
    """The features (n, 33)."""
    columns = [table.column(name).to_numpy() for name in V2_33FEATURES.names]
    return np.column_stack(columns) if table.num_rows else np.empty((0, len(columns)))


def _keys_of(table: pa.Table, rows: Sequence[int]) -> list[dict[str, str]]:
    keys = table.select(KEY).take(pa.array(rows, pa.int64())).to_pylist()
    return [{name: str(value) for name, value in key.items()} for key in keys]


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The first rows of a frame, as a finding shows them."""
    first = frame.head(5).assign(game_date=lambda rows: rows["game_date"].dt.strftime("%Y-%m-%d"))
    return [{str(name): value for name, value in row.items()} for row in first.to_dict("records")]


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset, under the given limits."""
    agreement = limits.min_recomputed_agreement
    low, high = limits.line_error
    return (
        Check(
            asset=ASSET,
            name="contract",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold="columns, types and digest as v2_33features has them",
            reason="A model trained on other columns, or in another order, predicts nonsense without an error.",
            examine=_contract,
        ),
        Check(
            asset=ASSET,
            name="unique_keys",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold="no (player_lookup, game_date) twice",
            reason="A repeated row counts twice in training and twice in every metric.",
            examine=_unique_keys,
        ),
        Check(
            asset=ASSET,
            name="ranges",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold="every value in its range, none missing where the contract forbids it",
            reason="Units that changed (a share stored as percent) show here first.",
            examine=_ranges,
        ),
        Check(
            asset=ASSET,
            name="samples_are_results",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold="every sample is a player who played, with the points of that game",
            reason="A player who did not play is no sample, and a target of another game teaches nothing.",
            examine=_samples_are_results,
        ),
        _coverage(limits.min_coverage, blocks=True),
        _coverage(limits.complete_coverage, blocks=False),
        Check(
            asset=ASSET,
            name="no_constant_column",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold="no feature that should vary is the same in every row",
            reason="A source that was empty, or a default that was never replaced, looks like a feature and is none.",
            examine=_no_constant_column,
        ),
        _recomputed("last_5_recomputes", "points_avg_last_5", 5, agreement),
        _recomputed("last_10_recomputes", "points_avg_last_10", 10, agreement),
        _recomputed("season_average_recomputes", "points_avg_season", None, agreement),
        Check(
            asset=ASSET,
            name="last_5_correlation",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold=f"correlation of points_avg_last_5 with the target at most {limits.max_last_5_correlation}, as "
            "far as its 95% interval tells",
            reason="Nothing that is known before a game says that much about it: more is a leak.",
            examine=_last_5_correlation,
        ),
        Check(
            asset=ASSET,
            name="line_flag_agrees",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold="has_vegas_line is 1 exactly where there is a line",
            reason="Missing is missing: a made-up line would be bet against.",
            examine=_line_flag,
        ),
        Check(
            asset=ASSET,
            name="line_error",
            severity=Severity.ERROR,
            blocking=True,
            stops_run=True,
            threshold=f"the line's MAE lies {low:+.0%} to {high:+.0%} below the season average's on the same rows, as "
            "far as its 95% interval tells",
            reason="A line that is far better than form was taken after tip-off, one far worse is a placeholder.",
            examine=_line_error,
        ),
        Check(
            asset=ASSET,
            name="drift",
            severity=Severity.WARN,
            blocking=False,
            threshold=f"no player's feature has a PSI above {limits.max_psi} against the same month of earlier seasons "
            f"(from {limits.min_rows_for_psi} rows on)",
            reason="A model is only known to be good on players and games like those it was trained on.",
            examine=_drift,
        ),
    )
