"""The report page: its sections in reading order, and the HTML around them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from importlib import resources

from nba_ml.contract.thresholds import BREAK_EVEN
from nba_ml.evaluation.grades import Breakdown, Slice
from nba_ml.evaluation.report.marks import count, month_name, population, signed, tone
from nba_ml.evaluation.report.sentences import headline, odds_in_words, verdict
from nba_ml.evaluation.report.tables import bets_table, slices_table
from nba_ml.evaluation.walk_forward import WalkForward
from nba_ml.model.recommendation import EDGE, USUAL_ODDS
from nba_ml.model.uncertainty import HIGH, LOW


def walk_forward_page(walk: WalkForward, *, wide_picture: bytes, narrow_picture: bytes) -> str:
    """The page as HTML. The pictures are PNGs of the curve, one for wide screens and one for phones."""
    overall = walk.overall
    if overall is None:
        return _page(f"<h1>Walk-forward</h1><p class=verdict>No month has graded results yet.</p>{_notes(walk)}")
    measured = {month: each.overall for month, each in walk.measured.items()}
    return _page(
        f"<h1>{escape(headline(overall.overall))}</h1>"
        f"<p class=verdict>{escape(verdict(walk, overall.overall))}</p>"
        f"<div class=tiles>{''.join(_tiles(overall.overall))}</div>"
        f"<section><h2>Month by month</h2><p class=soft>Each month is predicted by the model trained on the months "
        f"before it. Above: the mean absolute error of the model and the averages; lower is better. Below: the "
        f"model's gain on the season average. Above zero the model is better; green means that the whole 95% interval "
        f"is above zero.</p>"
        f"{_picture(wide_picture, narrow_picture)}</section>"
        + _by_season(walk, overall)
        + _section("By tier of season average", "Errors by the kind of player.", "points a game", overall.by["tier"])
        + _section("Home and away", "", "venue", overall.by["venue"])
        + _section("Rest", "Back-to-back: the team played the day before.", "rest", overall.by["rest"])
        + _line_section(walk, overall)
        + _section(
            "By month of the season",
            "Averages need games, so the model's gain on the season average changes over a season.",
            "month",
            overall.by["month of season"],
        )
        + _section(
            "Every month",
            "Promised is the MAE of the model's validation, before the month was played.",
            "month",
            {month_name(month): each for month, each in measured.items()},
            promised={month_name(m): _promised(walk, m) for m in measured},
        )
        + _notes(walk)
        + _glossary()
    )


def _page(body: str) -> str:
    style = (resources.files(__package__) / "style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>nba_ml: walk-forward</title><style>\n{style}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _tiles(overall: Slice) -> list[str]:
    interval, coverage = overall.mae_interval, overall.coverage
    tiles = [_tile(f"{overall.metrics.mae:.3f}", "mean absolute error", f"{interval.low:.3f} to {interval.high:.3f}")]
    season = overall.baselines.get("season_average")
    if season is not None:
        gain = season.gain_interval
        tiles.append(
            _tile(signed(season.gain), "gain on the season average", f"{gain.low:.3f} to {gain.high:.3f}", tone(season))
        )
    line = overall.against_line
    if line is not None:
        gain, n = line.line.gain_interval, line.n
        detail = f"{signed(gain.low)} to {signed(gain.high)}, on the {n:,} with a line"
        tiles.append(_tile(signed(line.line.gain), "gain on the betting line", detail, tone(line.line)))
    if line is not None and line.hit_rate is not None:
        rate = line.hit_rate
        detail = f"{rate.low:.1%} to {rate.high:.1%}; break-even {BREAK_EVEN:.1%}"
        tiles.append(_tile(f"{rate.share:.1%}", f"of {rate.n:,} bets right", detail))
    tiles.append(
        _tile(
            f"{coverage.inside:.1%}",
            f"of results inside the {LOW:.0%} to {HIGH:.0%} interval",
            f"target {coverage.nominal:.0%}; {coverage.below:.1%} below, {coverage.above:.1%} above",
        )
    )
    tiles.append(
        _tile(
            f"{overall.metrics.within_3:.0%} / {overall.metrics.within_5:.0%}",
            "within 3 and 5 points",
            population(overall),
        )
    )
    return tiles


def _tile(number: str, what: str, detail: str, tone: str = "") -> str:
    return (
        f'<div class=tile><b class="{tone}">{escape(number)}</b>'
        f"<span>{escape(what)}</span><span>{escape(detail)}</span></div>"
    )


def _picture(wide: bytes, narrow: bytes) -> str:
    address = {name: base64.b64encode(data).decode() for name, data in (("wide", wide), ("narrow", narrow))}
    return (
        f'<picture><source media="(max-width:600px)" srcset="data:image/png;base64,{address["narrow"]}">'
        f'<img alt="MAE of the model and the averages by month, and the gain on the season average" '
        f'src="data:image/png;base64,{address["wide"]}"></picture>'
    )


def _by_season(walk: WalkForward, overall: Breakdown) -> str:
    seasons = {season: each.overall for season, each in walk.seasons.items()}
    tiers = "".join(
        f"<h3>{escape(season)}</h3>{slices_table('points a game', each.by['tier'], None, None)}"
        for season, each in walk.seasons.items()
    )
    return (
        f"<section><h2>By season</h2>{slices_table('season', seasons, ('all', overall.overall), None)}"
        f"<details><summary>Each season by tier</summary>{tiers}</details></section>"
    )


def _section(
    title: str,
    lead: str,
    label: str,
    slices: Mapping[str, Slice],
    *,
    promised: Mapping[str, float | None] | None = None,
) -> str:
    intro = f"<p class=soft>{escape(lead)}</p>" if lead else ""
    return f"<section><h2>{escape(title)}</h2>{intro}{slices_table(label, slices, None, promised)}</section>"


def _line_section(walk: WalkForward, overall: Breakdown) -> str:
    against = overall.overall.against_line
    if against is None:
        return (
            "<section><h2>Against the line</h2><p>No graded game had a betting line, so there are no bets, no hit rate "
            "and no bias against the line.</p></section>"
        )
    rows = {month_name(m): each.overall.against_line for m, each in walk.measured.items()}
    lines = {name: result for name, result in rows.items() if result is not None}
    tiers = {name: each.against_line for name, each in overall.by["tier"].items()}
    table = bets_table("month", lines, ("all", against))
    tier_table = bets_table("points a game", {name: each for name, each in tiers.items() if each is not None}, None)
    return (
        f"<section><h2>Against the line</h2><p>{escape(odds_in_words(against.hit_rate))}</p>"
        f"<p class=soft>Only {count(len(lines), 'month')} of {len(rows)} had lines. A bet is a prediction {EDGE:g} "
        f"points or more from the line whose side wins with a probability above {BREAK_EVEN:.2%}, the break-even at "
        f"odds of {USUAL_ODDS}; a result equal to the line is a push and does not count. Bias is the mean of "
        f"prediction minus line.</p>{table}<details><summary>By tier</summary>{tier_table}</details></section>"
    )


def _notes(walk: WalkForward) -> str:
    if not walk.notes:
        return ""
    lines = "".join(f"<li><b>{escape(month_name(month))}</b>: {escape(why)}</li>" for month, why in walk.notes.items())
    return f"<section><h2>Months without a number</h2><ul>{lines}</ul></section>"


def _glossary() -> str:
    terms = {
        "MAE": "mean absolute error in points; the small numbers are its 95% interval (bootstrap over days)",
        "gain": "the season average's MAE minus the model's on the same rows; above 0 the model is better",
        "coverage": f"share of results inside the {LOW:.0%} to {HIGH:.0%} interval; {HIGH - LOW:.0%} is ideal",
        "bias": "mean of prediction minus result; points are skewed, so a model of the median is below the mean",
        "RMSE": "root mean squared error in points",
        "hit rate": "right / (right + wrong), with its 95% Wilson interval",
        "mock": "the rule of thumb used in production before there was a model",
    }
    lines = "".join(f"<li><b>{name}</b>: {escape(meaning)}</li>" for name, meaning in terms.items())
    return f"<section><h2>How to read this</h2><ul>{lines}</ul></section>"


def _promised(walk: WalkForward, month: str) -> float | None:
    model = walk.months[month].model
    return model.validation.mae if model else None
