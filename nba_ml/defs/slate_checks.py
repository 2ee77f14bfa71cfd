"""Checks of a date's slate: whether it is a slate at all, and how many players it leaves out.

Players who cannot be predicted are set aside by name and reason, and the slate is made anyway. Without these checks an
empty slate would be a green run, noticed only by those who look for a prediction in the evening.

They are not in the registry, which is of months: so is `nba-ml check`.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.contract.errors import CheckBrokenError
from nba_ml.contract.season import month_of
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.checks import result_of, scene_of, spec_of
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.slates.slate import SetAside, Slate
from nba_ml.slates.store import SlateStore

ASSET = "slate_predictions"


def _somebody_predicted(slate: Slate, _: CheckContext) -> Finding:
    served, left_out = slate.report.served, _left_out(slate)
    early = "; every row is early season" if not served and not left_out else ""
    return Finding(
        passed=served > 0 or not left_out,
        metric="players predicted",
        value=f"{served:,}{early}",
        n=slate.report.rows,
        worst=_worst_rows(left_out),
        next_step=_next_step(slate),
    )


def _few_set_aside(slate: Slate, scene: CheckContext) -> Finding:
    left_out = _left_out(slate)
    due = slate.report.served + len(left_out)
    share = len(left_out) / due if due else 0.0
    return Finding(
        passed=share <= scene.limits.max_set_aside,
        metric="share of the players set aside",
        value=f"{share:.1%} ({len(left_out):,} of {due:,})",
        n=slate.report.rows,
        worst=_worst_rows(left_out),
        next_step=_next_step(slate),
    )


def _left_out(slate: Slate) -> list[SetAside]:
    """A row for each player who was set aside and has no prediction: an older row of one who has is no loss."""
    served = set(slate.served.column("player_lookup").to_pylist())
    by_player = {each.player_lookup: each for each in slate.report.set_aside if each.player_lookup not in served}
    return list(by_player.values())


def _worst_rows(left_out: list[SetAside]) -> list[dict[str, str]]:
    return [each.model_dump() for each in left_out]


def _next_step(slate: Slate) -> str:
    reasons = "; ".join(f"{reason} ({n:,} rows)" for reason, n in slate.report.set_aside_by_reason.items())
    return (
        f"Set aside: {reasons}. Fix the job that writes these features, then `nba-ml slate predict --date "
        f"{slate.report.game_date}` makes another version; the newest made before the games counts."
    )


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset, under the given limits."""
    return (
        Check(
            ASSET,
            "somebody_predicted",
            Consequence.STOPS_RUN,
            "at least one player is predicted, unless every row is early season",
            "Features that changed units or order break the contract in every row, so there are no predictions.",
            _somebody_predicted,
        ),
        Check(
            ASSET,
            "few_set_aside",
            Consequence.WARNS,
            f"at most {limits.max_set_aside:.0%} of the players are set aside",
            "Who is set aside has no prediction in the evening, whatever the cause.",
            _few_set_aside,
        ),
    )


def build(days: dg.DailyPartitionsDefinition, limits: Thresholds) -> dg.AssetChecksDefinition:
    """The checks in Dagster, of the newest version of a date, which is the one that a run has made or found."""
    rules = checks(limits)

    @dg.multi_asset_check(name=f"{ASSET}_checks", specs=[spec_of(check, days) for check in rules], can_subset=True)
    def examine(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        artifact_root: dg.ResourceParam[ArtifactRoot],
    ) -> Iterator[dg.AssetCheckResult]:
        day = date.fromisoformat(context.partition_key)
        kept = SlateStore(store.months().objects).newest(day)
        if kept is None:
            raise CheckBrokenError(
                f"No slate of {day} is kept, so there is nothing to check: `nba-ml slate predict --date {day}` makes "
                "one. A check that could not run has not passed."
            )
        scene = scene_of(ASSET, month_of(day), limits, store, artifact_root, [])
        selected = {key.name for key in context.selected_asset_check_keys}
        for check in rules:
            if check.name in selected:
                yield result_of(check, check.examine(kept.slate, scene))

    return examine
