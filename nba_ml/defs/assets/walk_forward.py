"""`walk_forward`: all graded months together, as a table, a picture and a page."""

import base64
from typing import Any

import dagster as dg

from nba_ml.contract.lineage import inputs_digest
from nba_ml.defs.assets.recording import INPUTS, OWNERS, digests, markdown_table
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.resources import Store
from nba_ml.evaluation.grades import GradedMonth
from nba_ml.evaluation.pictures import walk_forward_curve
from nba_ml.evaluation.report.page import walk_forward_page
from nba_ml.evaluation.stored import GRADES
from nba_ml.evaluation.walk_forward import WalkForward, summarise, summary_table
from nba_ml.storage.months import MonthStore

CODE_VERSION = "1"

PAGE = "walk_forward/report.html"
SUMMARY = "walk_forward/summary.json"

_DIALOG_DPI = 90
"""990 pixels wide: the UI's dialog shows a picture at its own size and cuts off what is beyond 1,080."""


def build(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(group_name="evaluation", deps=[GRADES.name], kinds={"html"}, owners=OWNERS, code_version=CODE_VERSION)
    def walk_forward(store: dg.ResourceParam[Store]) -> dg.MaterializeResult[None]:
        """The curve to look at first: every graded month, scored by the model of the month before.

        MAE of the model, the averages and the line, gains with intervals, hit rate, coverage; by month, by
        season, together. Takes the months that have been graded and names those that have not. One HTML
        page, without outside resources, is kept beside the summary.
        """
        values = store.months()
        graded = graded_months(values, month_keys(months))
        walk = summarise(graded, month_keys(months))
        curve = {month: each.overall for month, each in walk.measured.items()}
        wide, narrow = walk_forward_curve(curve), walk_forward_curve(curve, narrow=True)
        page = walk_forward_page(walk, wide_picture=wide, narrow_picture=narrow)
        values.objects.write(SUMMARY, walk.model_dump_json(indent=1).encode() + b"\n")
        values.objects.write(PAGE, page.encode())
        with silence_preview_warnings():
            return dg.MaterializeResult(
                data_version=dg.DataVersion(walk.digest),
                metadata={
                    "report": dg.MetadataValue.path(values.objects.uri(PAGE)),
                    **({"curve": _inline(walk_forward_curve(curve, dpi=_DIALOG_DPI))} if curve else {}),
                    **_facts(walk),
                    "summary": dg.MetadataValue.path(values.objects.uri(SUMMARY)),
                    INPUTS: inputs_digest(CODE_VERSION, {GRADES.name: digests(graded)}, {}),
                },
            )

    return walk_forward


def graded_months(store: MonthStore, months: list[str]) -> dict[str, GradedMonth]:
    """The grades of those of the months that have been graded."""
    found = {month: store.load(GRADES, month) for month in months}
    return {month: value for month, value in found.items() if value is not None}


def _inline(picture: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![MAE by month](data:image/png;base64,{base64.b64encode(picture).decode()})")


def _facts(walk: WalkForward) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "months_measured": len(walk.measured),
        "months_missing": len(walk.missing),
        **({"missing": ", ".join(walk.missing)} if walk.missing else {}),
    }
    if walk.overall is None:
        return {**facts, "note": "no month has been graded with a result yet"}
    overall = walk.overall.overall
    seasons = {season: each.overall for season, each in walk.seasons.items()}
    season = overall.baselines.get("season_average")
    return {
        **facts,
        "predictions": overall.metrics.n,
        "mae": overall.metrics.mae,
        **({"gain_over_season": season.gain} if season else {}),
        "interval_coverage": overall.coverage.inside,
        "seasons": markdown_table(summary_table({**seasons, "all": overall}, "season")),
        "tiers": markdown_table(summary_table(walk.overall.by["tier"], "points a game")),
        "months": markdown_table(summary_table({m: each.overall for m, each in walk.measured.items()}, "month")),
    }
