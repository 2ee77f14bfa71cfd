"""The jobs of the UI's job pages.

What belongs here: which assets or checks a job runs. When it runs is `schedules` and `sensors`.
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from nba_ml.contract.assets import CHAIN, EVALUATION_ASSETS, TRAINING_ASSETS
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.defs.internals import UnresolvedAssetJobDefinition
from nba_ml.sources.month_rows import FEATURES, SUMMARY

SNAPSHOT = "feature_store_snapshot"

SNAPSHOT_JOB, MODEL_JOB = "monthly_snapshot", "monthly_model"

STANDING_CHECKS = ("no_month_left_failed", "champion_not_too_old", "retraining_ran", "slates_made")
"""The checks of `champion` that depend on the current time, and so run every day."""


def build_jobs(*, observable: bool, systems: Sequence[System] = (XGBOOST_V1,)) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of the UI's job pages: a month of every system; with several systems, of each one too.

    `observable`: the feature store is external.
    """
    chain = CHAIN[2:] if observable else CHAIN
    jobs = [
        dg.define_asset_job(
            "monthly_chain",
            selection=_of(systems, *chain),
            description="A month's rows to its published model, with every check. To fill months.",
        ),
        dg.define_asset_job(
            "monthly_chain_and_grades",
            selection=_of(systems, *chain, *EVALUATION_ASSETS) | dg.AssetSelection.assets("walk_forward"),
            description="The same with the month's predictions by the model of the month before, their grades, and the "
            "report over all graded months. To fill months and see how good their models were. No champion is decided.",
        ),
        dg.define_asset_job(
            SNAPSHOT_JOB,
            selection=_of(systems, SNAPSHOT),
            description="The snapshot of a month, with its checks.",
        ),
        dg.define_asset_job(
            MODEL_JOB,
            selection=_of(systems, *TRAINING_ASSETS),
            description="The model of a month, from the snapshots that are there, with its checks, to publication.",
        ),
        # One run holds both: the month's assets get its partition, the champion, which has none, comes after them.
        # If the month's model is refused, the champion's step proposes nothing.
        dg.define_asset_job(
            "monthly_retraining",
            selection=_of(systems, *chain, *EVALUATION_ASSETS) | dg.AssetSelection.assets("champion"),
            description="A month's rows to its published model and its grades; then the champion is decided. A refused "
            "model leaves the champion as it is.",
        ),
        dg.define_asset_job(
            "release",
            selection=dg.AssetSelection.assets("champion", "rollout"),
            description="Propose the latest published model as champion, and take the next step of a rollout if its "
            "grades allow it.",
        ),
        dg.define_asset_job(
            "standing_checks",
            selection=dg.AssetSelection.checks(
                *(dg.AssetCheckKey(dg.AssetKey("champion"), name) for name in STANDING_CHECKS)
            ),
            description="Is the release alive: no month left failed, the champion not too old, retraining really ran, "
            "the slates made. Makes nothing.",
        ),
    ]
    jobs += [
        dg.define_asset_job(
            f"monthly_chain_{system.id}",
            selection=_of([system], *chain, *EVALUATION_ASSETS),
            description=f"A month of {system.id} alone: its rows to its published model, with its grades.",
        )
        for system in (systems if len(systems) > 1 else ())
    ]
    if observable:
        jobs.append(
            dg.define_asset_job(
                "observe_feature_store",
                selection=_of(systems, SUMMARY, FEATURES),
                description="Look at the platform's tables: a data version and the coverage of every month.",
            )
        )
    return jobs


def _of(systems: Iterable[System], *names: str) -> dg.AssetSelection:
    """These assets of every system's chain."""
    return dg.AssetSelection.assets(
        *dict.fromkeys(dg.AssetKey.from_user_string(system.asset(name)) for system in systems for name in names)
    )


def retrained_assets(*, observable: bool, systems: Sequence[System], graded: Sequence[System]) -> tuple[str, ...]:
    """What retraining makes of a month for these systems, those `graded` with their predictions and grades."""
    chain = CHAIN[2:] if observable else CHAIN
    made = (
        system.asset(name) for system in systems for name in (*chain, *(EVALUATION_ASSETS if system in graded else ()))
    )
    return (*dict.fromkeys(made), "champion")


def build_slate_job() -> UnresolvedAssetJobDefinition:
    """The job of one date's slate."""
    return dg.define_asset_job(
        "slate",
        selection=dg.AssetSelection.assets("slate_predictions"),
        description="The slate of a date, scored by the models that serve.",
    )


def build_grading_job() -> UnresolvedAssetJobDefinition:
    """The job of one month's slates."""
    return dg.define_asset_job(
        "slate_grading",
        selection=dg.AssetSelection.assets("slate_grades"),
        description="The slates of a month, as they were kept, against its results.",
    )
