"""Checks of a month's snapshot: the stored rows are those taken, cover the games played, and have no leak.

`take_snapshot` already refuses duplicate rows, rows out of range and rows without a result, and clears the line where
there is none. No check repeats that: a snapshot rewritten behind its back has another digest than its materialisation,
and the publisher refuses any model made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from nba_ml.checks.absences import MAX_OF_THIS_GAME, absences_of_last_game
from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.checks.drift import most_moved, moved, psi_of_features, same_month_of_earlier_seasons
from nba_ml.checks.leaks import (
    MAX_CHANGE_CORRELATION,
    change_correlation,
    last_5_correlation,
    line_error,
    opens_season,
    recomputes,
    settled_rows,
)
from nba_ml.contract.features import NOT_IN_BOX_SCORES, REPORTED, V2_33FEATURES, Feature
from nba_ml.contract.thresholds import Thresholds
from nba_ml.contract.times import eastern_noon
from nba_ml.data.lines import FeatureMonth
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import snapshot_schema

ASSET, FEATURES = "feature_store_snapshot", "ml_feature_store_v2"

_check = partial(Check, ASSET)

MAY_BE_ABSENT = (*NOT_IN_BOX_SCORES, "vegas_points_line", *REPORTED)
"""Features that may be missing for a whole month, because there is no source or no book was recorded."""

MAY_STAND_STILL = ("playoff_game", "back_to_back", "has_vegas_line")
"""Flags that may be constant for a whole month: no playoffs before April, no back-to-backs in the conference finals,
no lines."""

MAY_STAND_STILL_AT_FIRST = "minutes_change"
"""A mean of ten games against that of the season: the same until a player's eleventh game, so for all of an October."""

COARSE_UNITS = ("0/1", "level", "days", "games", "score")
ROWS_FOR_COARSE_UNITS = 500
"""A level or a number of days can be constant in the Finals between two teams, but not in a full month."""


def _contract(snapshot: Snapshot, context: CheckContext) -> Finding:
    expected, found = snapshot_schema(context.system.features), snapshot.table.schema
    differing = [f"column {f.name} {f.type}" for f in found if f not in list(expected)]
    differing += [f"column {name} is missing" for name in expected.names if name not in found.names]
    if not differing and found.names != expected.names:
        differing.append("the order of the columns")
    if table_digest(snapshot.table) != snapshot.digest:
        differing.append("the rows do not match the digest")
    return Finding(
        passed=not differing,
        metric="differences from the contract",
        value=len(differing),
        n=snapshot.table.num_rows,
        worst=[{"difference": difference} for difference in differing],
        next_step=f"Materialise feature_store_snapshot for {context.month} again with this version of the code.",
    )


def _covers(limit: float) -> Callable[[Snapshot, CheckContext], Finding]:
    """Rule: at least `limit` of the player-games played have a valid feature row."""

    def examine(snapshot: Snapshot, context: CheckContext) -> Finding:
        counts = snapshot.counts
        steps = []
        if counts.missing_results:
            steps.append(
                f"{counts.missing_results:,} player-games of {context.month} have no results, on "
                f"{counts.missing_dates}: load the box scores of these dates, and the features if they are missing "
                "too, then materialise the month again."
            )
        if counts.played > counts.covered or not steps:
            steps.append(
                f"{counts.played - counts.covered:,} player-games of {context.month} have no valid feature row: wait "
                "for the backfill to reach them, then materialise the month again."
            )
        return Finding(
            passed=counts.coverage >= limit,
            metric="coverage",
            value=round(counts.coverage, 4),
            n=counts.played + counts.missing_results,
            next_step=" ".join(steps),
        )

    return examine


def _no_constant_column(snapshot: Snapshot, context: CheckContext) -> Finding:
    first_month, table = opens_season(context), settled_rows(snapshot.table, context)
    constant = [
        {"feature": feature.name, "value in every row": _only_value(table.column(feature.name))}
        for feature in context.system.features.features
        if _should_vary(feature, table, first_month=first_month) and _distinct(table.column(feature.name)) < 2
    ]
    return Finding(
        passed=not constant,
        metric="features that are constant",
        value=len(constant),
        n=table.num_rows,
        worst=constant,
        next_step=f"Find out why the feature store's job wrote one value for all of {context.month} (an empty source, "
        f"a default that was never replaced): {', '.join(each['feature'] for each in constant)}. Compute the features "
        "again, then materialise the month.",
    )


def _should_vary(feature: Feature, table: pa.Table, *, first_month: bool) -> bool:
    if feature.name in MAY_STAND_STILL or table.num_rows < 2:
        return False
    if first_month and feature.name == MAY_STAND_STILL_AT_FIRST:
        return False
    if feature.unit in COARSE_UNITS and table.num_rows < ROWS_FOR_COARSE_UNITS:
        return False
    return feature.name not in MAY_BE_ABSENT or _distinct(table.column(feature.name)) > 0


def _distinct(column: pa.ChunkedArray) -> int:
    """Number of distinct values, without NaN."""
    values = column.to_numpy()
    return len(np.unique(values[~np.isnan(values)]))


def _only_value(column: pa.ChunkedArray) -> str:
    values = column.to_numpy()
    known = values[~np.isnan(values)]
    return f"{known[0]:g}" if len(known) else "missing"


def _lines_matched(limit: float, min_unmatched: int = 1) -> Callable[[Snapshot, CheckContext], Finding]:
    """Rule: at least `limit` of the lines match a player who appeared on their date, or fewer than `min_unmatched` do
    not.
    """

    def examine(snapshot: Snapshot, context: CheckContext) -> Finding:
        metric, lines = "share of the lines that match a player who appeared", snapshot.lines
        if lines is None or not lines.judged:
            return Finding(passed=True, metric=metric, value="no lines to match", n=0)
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in lines.unmatched.items())
        lost = lines.judged - lines.matched
        return Finding(
            passed=lost < min_unmatched or lines.matched >= limit * lines.judged,
            metric=metric,
            value=round(lines.matched / lines.judged, 4),
            n=lines.judged,
            worst=[{"reason": reason, "lines": n} for reason, n in lines.unmatched.items()],
            next_step=f"{lost:,} of {lines.judged:,} lines of {context.month} match no player: "
            f"{reasons}. Use the box scores' player_id and the game's Eastern date in the lines, then materialise the "
            "month again.",
        )

    return examine


def _reports_before_cut_off(snapshot: Snapshot, context: CheckContext) -> Finding:
    month = context.load(FEATURES, context.month)
    held = month.reports if isinstance(month, FeatureMonth) else None
    rows = [] if held is None else held.to_pylist()
    late = [{name: str(row[name]) for name in row if name != "is_out"} for row in rows if _is_late(row)]
    known = ~np.isnan(snapshot.table.column(REPORTED[0]).to_numpy())
    days = {row["game_date"] for row in rows}
    unfounded = set(snapshot.table.column("game_date").filter(pa.array(known)).to_pylist()) - days
    late += [{"game_date": str(day), "reported_at": "no report is stored"} for day in sorted(unfounded)]
    return Finding(
        passed=not late,
        metric="reports made at the cut-off or later, and dates without the reports that the features claim",
        value=len(late),
        n=len(rows),
        worst=late,
        next_step=f"Make ml_feature_store_v2 of {context.month} again, then this month. If reports are late again, "
        "compare their reported_at with the schedule's tip_off: both need their time zone.",
    )


def _is_late(row: Mapping[str, Any]) -> bool:
    """Whether a report was made at its cut-off or later, or that is after tip-off. A stand-in has no times."""
    if row["reported_at"] is None:
        return False
    begins = row["tip_off"] or eastern_noon(row["game_date"])
    return not row["reported_at"] < row["counts_until"] <= begins


def _drift(snapshot: Snapshot, context: CheckContext) -> Finding:
    metric = "largest PSI of a feature against the same month of earlier seasons"
    tables = same_month_of_earlier_seasons(context)
    if not tables:
        return Finding(passed=True, metric=metric, value="no earlier season to compare with", n=0)
    if snapshot.table.num_rows < context.limits.min_rows_for_psi:
        return Finding(passed=True, metric=metric, value="too few rows to compare", n=snapshot.table.num_rows)
    ranked = psi_of_features(pa.concat_tables(tables), snapshot.table, context.system.features)
    drifted = moved(ranked, context.limits.max_psi)
    return Finding(
        passed=not drifted,
        metric=metric,
        value=round(ranked[0][1], 4),
        n=snapshot.table.num_rows,
        worst=most_moved(ranked),
        next_step=f"{drifted} differ from the same month of earlier seasons in {context.month}. If a source began or "
        "ended (lines, injury reports), no action is needed. Otherwise check the job that writes these features.",
    )


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset with the given limits."""
    agreement = limits.min_recomputed_agreement
    low, high = limits.line_error
    return (
        _check(
            name="contract",
            consequence=Consequence.STOPS_RUN,
            threshold=f"columns, types and digest as {V2_33FEATURES.name} has them",
            reason="A model trained on other columns, or another order, predicts nonsense without an error.",
            examine=_contract,
        ),
        _check(
            name="coverage",
            consequence=Consequence.STOPS_RUN,
            threshold=f"at least {limits.min_coverage:.0%} of the player-games played have a valid feature row",
            reason="Half a month is not a representative sample of its games.",
            examine=_covers(limits.min_coverage),
        ),
        _check(
            name="coverage_complete",
            consequence=Consequence.WARNS,
            threshold=f"at least {limits.complete_coverage:.0%} of the player-games played have a valid feature row",
            reason=f"The backfill calls a month complete at {limits.complete_coverage:.0%}.",
            examine=_covers(limits.complete_coverage),
        ),
        _check(
            name="no_constant_column",
            consequence=Consequence.STOPS_RUN,
            threshold="no feature that should vary is the same in every row",
            reason="An empty source or an unreplaced default looks like a feature but has no information.",
            examine=_no_constant_column,
        ),
        *(
            _check(
                name=name,
                consequence=Consequence.STOPS_RUN,
                threshold=f"{feature} equals the mean points of {games}, strictly before the date, in at least "
                f"{agreement:.0%} of the rows",
                reason="A window that included the predicted game once made a model look twice as good as it was.",
                examine=recomputes(feature, window, agreement),
            )
            for name, feature, window, games in (
                ("last_5_recomputes", "points_avg_last_5", 5, "the player's last 5 games"),
                ("last_10_recomputes", "points_avg_last_10", 10, "the player's last 10 games"),
                ("season_average_recomputes", "points_avg_season", None, "the season so far"),
            )
        ),
        _check(
            name="last_5_correlation",
            consequence=Consequence.STOPS_RUN,
            threshold=f"correlation of points_avg_last_5 with the target at most {limits.max_last_5_correlation}, as "
            "far as its 95% interval tells",
            reason="Nothing known before a game predicts it that well. A higher correlation is a leak.",
            examine=last_5_correlation,
        ),
        _check(
            name="change_correlation",
            consequence=Consequence.STOPS_RUN,
            threshold="the change of each career feature since the player's last game has a correlation of at most "
            f"{MAX_CHANGE_CORRELATION} with the points of this game, as far as its 95% interval tells",
            reason="A weighted average that includes the predicted game looks like form, and no average is recomputed "
            "from it.",
            examine=change_correlation,
            needs="points_ewm_12",
        ),
        _check(
            name="absences_of_last_game",
            consequence=Consequence.STOPS_RUN,
            threshold=f"the sums over absent players follow who missed this game by at most {MAX_OF_THIS_GAME}, beside "
            "who missed the team's last game, as far as the 95% interval tells",
            reason="Who misses a game is known when it begins: a feature that says so is a result. Only reports made "
            "in time may say it.",
            examine=absences_of_last_game,
            needs="absent_points",
        ),
        _check(
            name="lines_matched",
            consequence=Consequence.STOPS_RUN,
            threshold=f"at least {limits.min_lines_matched:.0%} of the lines are matched with a player who appeared on "
            f"their date, or fewer than {limits.min_unmatched_lines} are not",
            reason="Without this check, unmatched lines would be lost silently.",
            examine=_lines_matched(limits.min_lines_matched, limits.min_unmatched_lines),
        ),
        _check(
            name="lines_matched_complete",
            consequence=Consequence.WARNS,
            threshold=f"at least {limits.complete_lines_matched:.0%} of the lines are matched with a player who "
            "appeared on their date",
            reason="Without this check, unmatched lines would be lost silently.",
            examine=_lines_matched(limits.complete_lines_matched),
        ),
        _check(
            name="line_error",
            consequence=Consequence.STOPS_RUN,
            threshold=f"the line's MAE lies {low:+.0%} to {high:+.0%} below the season average's on the same rows, as "
            "far as its 95% interval tells",
            reason="A line far better than form was taken after tip-off. A line far worse is a placeholder.",
            examine=line_error,
        ),
        _check(
            name="reports_before_cut_off",
            consequence=Consequence.STOPS_RUN,
            threshold="every report that a feature knows was made before the cut-off of its game",
            reason="After a game everybody knows who was out. A model that learned from late reports would never see "
            "such reports in time.",
            examine=_reports_before_cut_off,
            needs=REPORTED[0],
        ),
        _check(
            name="drift",
            consequence=Consequence.WARNS,
            threshold=f"no player's feature has a PSI above {limits.max_psi} against the same month of earlier seasons "
            f"(from {limits.min_rows_for_psi} rows on)",
            reason="A model is only known to work on players and games like those it was trained on.",
            examine=_drift,
        ),
    )
