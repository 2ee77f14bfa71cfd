"""`walk_forward`: all graded months together, as a table, a picture and a page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from nba_ml.contract.digest import json_digest
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.season import season_of
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.defs.assets.recording import (
    INPUTS,
    OWNERS,
    digests,
    in_parts,
    markdown_table,
    market_facts,
    materialised,
    picture,
)
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Store
from nba_ml.evaluation.grades import GradedMonth, Slice
from nba_ml.evaluation.pictures import walk_forward_curve
from nba_ml.evaluation.report.addresses import (
    CURVE,
    REPORT,
    WALK_FORWARD_FILES,
    walk_forward_address,
    walk_forward_file,
)
from nba_ml.evaluation.report.charts import TITLES, reliability_charts
from nba_ml.evaluation.report.page import systems_section, walk_forward_page
from nba_ml.evaluation.report.sections import Section
from nba_ml.evaluation.shadow import COMPARED, SystemGrade, compare_graded
from nba_ml.evaluation.stored import GRADES
from nba_ml.evaluation.walk_forward import (
    GradedGames,
    WalkForward,
    graded_games,
    month_ranges,
    summarise,
    summary_table,
    without_details,
)
from nba_ml.storage.months import MonthStore

CODE_VERSION = "1"

PAGE = walk_forward_file(REPORT)
SUMMARY = "summary.json"

_INLINE_DPI = 76
"""350 pixels wide: the UI shows a picture at its own size, and its column of values is not much wider."""

_SHOWN = ["n", "MAE", "season average", "gain", "coverage"]
"""Columns of the tables that are shown without a click; the report has all."""


def build(months: dg.MonthlyPartitionsDefinition, systems: Sequence[System] = (XGBOOST_V1,)) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="evaluation",
        deps=[dg.AssetKey.from_user_string(GRADES.of(system).name) for system in systems],
        kinds={"html"},
        owners=OWNERS,
        code_version=CODE_VERSION,
    )
    @fails_with_its_reason
    def walk_forward(store: dg.ResourceParam[Store]) -> dg.MaterializeResult[None]:
        """The curve to look at first: every graded month, scored by the model of the month before.

        MAE of the model, the averages and the line, gains with intervals, hit rate, coverage; by month, by
        season, together. Takes the months that have been graded and names those that have not. One HTML
        page, without outside resources, is kept beside the summary. With several systems each has a page; what is shown
        here is that of the first, and a table compares the systems on the player-games that all of them predicted.
        """
        values = store.months()
        # The rows of one system at a time: those of all are the most that this process ever holds.
        measured = {system: _measure(values, month_keys(months), system) for system in systems}
        grades = compare_graded([each.compared for each in measured.values() if each.compared is not None])
        shown = [system for system in systems if system == systems[0] or measured[system].compared is not None]
        pictures = {
            system: _write(values, measured[system], system, systems_section(grades, links))
            for system, links in _links(shown).items()
        }
        walk = measured[systems[0]].walk
        digest = walk.digest if len(shown) == 1 else json_digest([measured[system].walk.digest for system in shown])
        inputs = {GRADES.of(system).name: measured[system].digests for system in systems}
        return materialised(
            digest,
            {
                "report": dg.MetadataValue.md(_reports(shown)),
                "report_file": dg.MetadataValue.path(values.objects.uri(PAGE)),
                **_pictures(pictures[systems[0]]),
                **_facts(walk),
                **_compared(grades),
                "summary": dg.MetadataValue.path(values.objects.uri(walk_forward_file(SUMMARY))),
                INPUTS: in_parts(inputs_digest(CODE_VERSION, inputs, {})),
            },
        )

    return walk_forward


@dataclass(frozen=True, slots=True)
class _Measured:
    """A system's graded months, without their rows. `compared`: of the rows what `compare_graded` reads; None without
    a graded month. `digests`: month -> that of its grades."""

    walk: WalkForward
    games: GradedGames | None
    compared: pa.Table | None
    digests: dict[str, str]


def _measure(store: MonthStore, months: list[str], system: System) -> _Measured:
    graded = graded_months(store, months, system)
    compared = pa.concat_tables(each.table.select(COMPARED) for each in graded.values()) if graded else None
    return _Measured(summarise(graded, months), graded_games(graded), compared, digests(graded))


def _write(store: MonthStore, measured: _Measured, system: System, compared: Section | None) -> list[str]:
    """Write a system's summary, page and pictures; returns the names of the pictures."""
    walk, games = measured.walk, measured.games
    curve = {month: each.overall for month, each in walk.measured.items()}
    wide, narrow = walk_forward_curve(curve), walk_forward_curve(curve, narrow=True)
    page = walk_forward_page(walk, games, wide_picture=wide, narrow_picture=narrow, systems=compared)
    charts = reliability_charts(games.diagnosis) if games else {}
    files = {f"{name}.svg": chart.encode() for name, chart in charts.items()}
    if curve:
        files[CURVE] = walk_forward_curve(curve, narrow=True, dpi=_INLINE_DPI)
    documents = {SUMMARY: walk.model_dump_json(indent=1).encode() + b"\n", REPORT: page.encode()}
    for name, data in {**files, **documents}.items():
        store.objects.write(walk_forward_file(name, system), data)
    return list(files)


def _links(systems: Sequence[System]) -> dict[System, dict[str, str]]:
    """For the page of each system: the others, and where their pages are from there."""
    return {
        here: {each.id: f"{'../' if here.prefix else ''}{each.prefix}{REPORT}" for each in systems if each != here}
        for here in systems
    }


def _reports(systems: Sequence[System]) -> str:
    first, *others = systems
    links = [f"[The walk-forward report]({walk_forward_address(REPORT, first)})"]
    return ", ".join(links + [f"[that of {each.id}]({walk_forward_address(REPORT, each)})" for each in others])


def _compared(grades: Sequence[SystemGrade]) -> dict[str, Any]:
    """The systems on the same player-games, with the gains on the first; nothing with fewer than two."""
    if len(grades) < 2:
        return {}
    rows = [
        {
            "system": grade.system_id,
            "n": grade.metrics.n,
            "MAE": f"{grade.metrics.mae:.3f}",
            "gain": f"{grade.gain:+.3f} ({grade.gain_interval.low:+.3f} to {grade.gain_interval.high:+.3f})",
        }
        for grade in grades
    ]
    return {
        "systems": markdown_table(pd.DataFrame(rows)),
        **{f"gain_of_{grade.system_id}": grade.gain for grade in grades[1:]},
    }


def graded_months(store: MonthStore, months: list[str], system: System = XGBOOST_V1) -> dict[str, GradedMonth]:
    """The grades of those of the months that have been graded, as far as they are summed up."""
    found = ((month, store.load(GRADES.of(system), month)) for month in months)
    return {month: without_details(value) for month, value in found if value is not None}


def _pictures(files: Iterable[str]) -> dict[str, Any]:
    titles = {CURVE: "MAE by month", **{f"{name}.svg": title for name, title in TITLES.items()}}
    return {
        name.rpartition(".")[0]: picture(titles[name], walk_forward_address(name))
        for name in WALK_FORWARD_FILES
        if name in files
    }


def _facts(walk: WalkForward) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "months_measured": len(walk.measured),
        "months_missing": len(walk.missing),
        **({"missing": ", ".join(month_ranges(walk.missing, walk.every_month))} if walk.missing else {}),
    }
    if walk.overall is None:
        return {**facts, "note": "no month has been graded with a result yet"}
    overall = walk.overall.overall
    seasons = {season: each.overall for season, each in walk.seasons.items()}
    season, line = overall.baselines.get("season_average"), overall.against_line
    return {
        **facts,
        "predictions": overall.metrics.n,
        "mae": overall.metrics.mae,
        **({"gain_over_season": season.gain} if season else {}),
        "interval_coverage": overall.coverage.inside,
        **market_facts(walk.market),
        "seasons": _table({**seasons, "all": overall}, "season", _SHOWN),
        **({"against_line": _table({**seasons, "all": overall}, "season", ["line", "hit rate"])} if line else {}),
        "tiers": _table(walk.overall.by["tier"], "points a game", _SHOWN),
        **{f"months_{season.replace('-', '_')}": _months_of(walk, season) for season in walk.seasons},
    }


def _months_of(walk: WalkForward, season: str) -> dg.MarkdownMetadataValue:
    """A season's months; all months in one table are too long to be shown without a click."""
    months = {month: each.overall for month, each in walk.measured.items() if season_of(month) == season}
    return _table(months, "month", _SHOWN)


def _table(slices: Mapping[str, Slice], label: str, columns: list[str]) -> dg.MarkdownMetadataValue:
    return markdown_table(summary_table(slices, label)[[label, *columns]])
