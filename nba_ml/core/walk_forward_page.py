"""The walk-forward as one HTML page: no script, no outside resource, readable on a phone.

What belongs here: how the summary looks. What it says is computed in `walk_forward`.
"""

from __future__ import annotations

import base64
import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from nba_ml.core.comparison import BaselineResult
from nba_ml.core.grades import Breakdown, LineResult, Proportion, Slice
from nba_ml.core.recommendation import BREAK_EVEN, EDGE
from nba_ml.core.season import parse_month
from nba_ml.core.uncertainty import HIGH, LOW
from nba_ml.core.walk_forward import WalkForward

_STYLE = """
:root{--ink:#111827;--soft:#5b6472;--rule:#e5e8ec;--model:#0b5cad;--good:#1a7f4b;--bad:#b3261e;--unclear:#8a9099}
*{box-sizing:border-box}
body{margin:0;background:#f5f6f8;color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:27px;line-height:1.2;margin:0 0 6px}
h2{font-size:18px;margin:0 0 2px}
p{margin:0 0 10px}
.soft{color:var(--soft)}
.verdict{font-size:17px;max-width:60em}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:18px 0}
.tile,section{background:#fff;border:1px solid var(--rule);border-radius:10px}
.tile{padding:12px 14px}
.tile b{display:block;font-size:24px;white-space:nowrap;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{display:block;font-size:13px;color:var(--soft)}
section{padding:16px 18px 8px;margin:0 0 16px}
.wide{overflow-x:auto;margin:8px -18px 0;padding:0 18px 8px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:6px 7px;border-bottom:1px solid var(--rule);white-space:nowrap;vertical-align:middle}
th{font-weight:600;color:var(--soft);font-size:12.5px}
tbody th,th:first-child{text-align:left}
tbody th{color:var(--ink);font-size:14px;position:sticky;left:0;background:#fff}
td small{color:var(--soft)}
tr.all th,tr.all td{font-weight:600;background:#f5f8fc}
.good{color:var(--good)}.bad{color:var(--bad)}.unclear{color:var(--unclear)}
svg{display:block}
.gain svg{width:110px}
.gain{display:flex;align-items:center;justify-content:flex-end;gap:10px}
img{display:block;width:100%;height:auto}
details{margin:2px 0 8px}
h3{font-size:14px;margin:12px 0 0}
summary{cursor:pointer;color:var(--model);font-weight:600;padding:6px 0}
ul{margin:6px 0 10px;padding-left:20px}
@media (max-width:600px){main{padding:18px 10px 40px}h1{font-size:22px}.verdict{font-size:16px}
.tiles{grid-template-columns:1fr 1fr;gap:8px}td small{display:block;line-height:1.1}
th{white-space:normal}tbody th{white-space:nowrap}
.gain svg{width:72px}.gain{gap:6px}
.tile{padding:10px}.tile b{font-size:20px}
section{padding:14px 12px 4px}.wide{margin:8px -12px 0;padding:0 12px 8px}th,td{padding:6px}}
@media print{body{background:#fff}section,.tile{break-inside:avoid}}
"""


def walk_forward_page(walk: WalkForward, *, wide_picture: bytes, narrow_picture: bytes) -> str:
    """The page, as HTML. The pictures are PNGs of the curve, one for a desk and one for a phone."""
    overall = walk.overall
    if overall is None:
        return _page(
            f"<h1>Walk-forward</h1><p class=verdict>No month has been graded with a result yet.</p>{_notes(walk)}"
        )
    measured = {month: each.overall for month, each in walk.measured.items()}
    return _page(
        f"<h1>{escape(_headline(overall.overall))}</h1>"
        f"<p class=verdict>{escape(_verdict(walk, overall.overall))}</p>"
        f"<div class=tiles>{''.join(_tiles(overall.overall))}</div>"
        f"<section><h2>Month by month</h2><p class=soft>Each month is predicted by the model trained on the months "
        f"before it. Above: how far off the model and the averages are; lower is better. Below: what the model gains "
        f"on the season average; above zero is better, and green where the 95% interval is.</p>"
        f"{_picture(wide_picture, narrow_picture)}</section>"
        + _by_season(walk, overall)
        + _section("By tier of season average", "Who the errors are made on.", "points a game", overall.by["tier"])
        + _section("Home and away", "", "venue", overall.by["venue"])
        + _section("Rest", "Back-to-back: the team played the day before.", "rest", overall.by["rest"])
        + _line_section(walk, overall)
        + _section(
            "By month of the season",
            "Averages need games: the model's gain on the season average changes over a season.",
            "month",
            overall.by["month of season"],
        )
        + _section(
            "Every month",
            "Promised is what the model's own validation said before the month was played.",
            "month",
            {_month_name(month): each for month, each in measured.items()},
            promised={_month_name(m): _promised(walk, m) for m in measured},
        )
        + _notes(walk)
        + _glossary()
    )


def _page(body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>nba_ml: walk-forward</title><style>{_STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _headline(overall: Slice) -> str:
    season = overall.baselines.get("season_average")
    if season is None:
        return f"The model is {overall.metrics.mae:.2f} points off on games it had not seen"
    if season.gain_interval.low > 0:
        return "The model beats the season average on games it had not seen"
    if season.gain_interval.high < 0:
        return "The model loses to the season average on games it had not seen"
    return "The model cannot be told apart from the season average on games it had not seen"


def _verdict(walk: WalkForward, overall: Slice) -> str:
    """The one paragraph that is read if nothing else is."""
    months = walk.measured
    said = (
        f"Over {_count(len(months), 'month')} and {overall.metrics.n:,} predictions it was {overall.metrics.mae:.2f} "
        f"points off on average"
    )
    season = overall.baselines.get("season_average")
    if season is None:
        return f"{said}. No season average was there to compare it with."
    gains = [each.overall.baselines["season_average"] for each in months.values() if _has_season(each.overall)]
    clearly = sum(gain.gain_interval.low > 0 for gain in gains)
    lost = sum(gain.gain_interval.high < 0 for gain in gains)
    verdict = (
        f"{said}, the season average {season.metrics.mae:.2f}: better by {season.gain:.3f} points "
        f"({season.gain_interval.low:.3f} to {season.gain_interval.high:.3f}). Of the {_count(len(gains), 'month')} it "
        f"was clearly better in {clearly}, clearly worse in {lost}, and in {len(gains) - clearly - lost} the month "
        f"alone cannot tell."
    )
    return " ".join([verdict, *_losses(walk)])


def _losses(walk: WalkForward) -> list[str]:
    """Where the model is clearly not the better one, said as plainly as where it is."""
    if walk.overall is None:
        return []
    against, tiers = walk.overall.overall.against_line, walk.overall.by["tier"]
    said = [
        f"It loses to the season average for players of {name} points a game ({_signed(season.gain)})."
        for name, each in tiers.items()
        if (season := each.baselines.get("season_average")) is not None and season.gain_interval.high < 0
    ]
    if against is not None and against.line.gain_interval.high < 0:
        said.append(
            f"On the {against.n:,} predictions with a betting line, the line was the better one: "
            f"{against.line.metrics.mae:.2f} against {against.line.model_mae:.2f}."
        )
    return said


def _tiles(overall: Slice) -> list[str]:
    interval, coverage = overall.mae_interval, overall.coverage
    tiles = [_tile(f"{overall.metrics.mae:.3f}", "mean absolute error", f"{interval.low:.3f} to {interval.high:.3f}")]
    season = overall.baselines.get("season_average")
    if season is not None:
        gain = season.gain_interval
        tiles.append(
            _tile(
                _signed(season.gain), "gain on the season average", f"{gain.low:.3f} to {gain.high:.3f}", _tone(season)
            )
        )
    line = overall.against_line
    if line is not None:
        gain, n = line.line.gain_interval, line.n
        detail = f"{_signed(gain.low)} to {_signed(gain.high)}, on the {n:,} that have one"
        tiles.append(_tile(_signed(line.line.gain), "gain on the betting line", detail, _tone(line.line)))
    if line is not None and line.hit_rate is not None:
        rate = line.hit_rate
        detail = f"{rate.low:.1%} to {rate.high:.1%}; break-even {BREAK_EVEN:.1%}"
        tiles.append(_tile(f"{rate.share:.1%}", f"of {rate.n:,} bets right", detail))
    tiles.append(
        _tile(
            f"{coverage.inside:.1%}",
            f"of results inside the {LOW:.0%} to {HIGH:.0%} interval",
            f"{coverage.nominal:.0%} wanted; {coverage.below:.1%} below, {coverage.above:.1%} above",
        )
    )
    tiles.append(
        _tile(
            f"{overall.metrics.within_3:.0%} / {overall.metrics.within_5:.0%}", "within 3 and 5 points", _rows(overall)
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
        f"<h3>{escape(season)}</h3>{_table('points a game', each.by['tier'], None, None)}"
        for season, each in walk.seasons.items()
    )
    return (
        f"<section><h2>By season</h2>{_table('season', seasons, ('all', overall.overall), None)}"
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
    told = f"<p class=soft>{escape(lead)}</p>" if lead else ""
    return f"<section><h2>{escape(title)}</h2>{told}{_table(label, slices, None, promised)}</section>"


@dataclass(frozen=True, slots=True)
class _Scale:
    """From points of gain to pixels: one scale a table, so that its rows can be compared by eye."""

    low: float
    high: float

    WIDTH = 110

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> _Scale:
        gains = [each.baselines["season_average"].gain_interval for each in slices if _has_season(each)]
        low, high = min([0.0, *(g.low for g in gains)]), max([0.0, *(g.high for g in gains)])
        margin = 0.06 * (high - low) or 0.1
        return cls(low - margin, high + margin)

    def at(self, points: float) -> float:
        return round((points - self.low) / (self.high - self.low) * self.WIDTH, 1)


def _table(
    label: str,
    slices: Mapping[str, Slice],
    total: tuple[str, Slice] | None,
    promised: Mapping[str, float | None] | None,
) -> str:
    names = ["MAE", "gain on season average", *(["promised"] if promised is not None else []), "n", "season average"]
    names += ["last 10", "last 5", "mock", "bias", "RMSE", "within 3 / 5", "coverage"]
    scale = _Scale.of(list(slices.values()))
    body = [_row(name, each, scale, promised, "") for name, each in slices.items()]
    if total is not None:
        body.append(_row(*total, scale, None, " class=all"))
    head = "".join(f"<th>{escape(name)}</th>" for name in (label, *names))
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def _row(name: str, each: Slice, scale: _Scale, promised: Mapping[str, float | None] | None, attributes: str) -> str:
    interval = each.mae_interval
    cells = [
        f"{each.metrics.mae:.3f} <small>{interval.low:.2f}-{interval.high:.2f}</small>",
        _gain_cell(each.baselines.get("season_average"), scale),
        *([_number(promised[name])] if promised is not None else []),
        f"{each.metrics.n:,}",
        *(
            _number(each.baselines[other].metrics.mae if other in each.baselines else None)
            for other in ("season_average", "last_10_average", "last_5_average", "mock")
        ),
        _signed(each.metrics.bias),
        f"{each.metrics.rmse:.3f}",
        f"{each.metrics.within_3:.0%} / {each.metrics.within_5:.0%}",
        f"{each.coverage.inside:.1%}",
    ]
    return f"<tr{attributes}><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _gain_cell(season: BaselineResult | None, scale: _Scale) -> str:
    """The gain as a number and as a dot on its interval, with the zero line."""
    if season is None:
        return "-"
    low, high, zero = scale.at(season.gain_interval.low), scale.at(season.gain_interval.high), scale.at(0.0)
    told = f"{season.gain_interval.low:.3f} to {season.gain_interval.high:.3f}"
    return (
        f'<div class="gain {_tone(season)}" title="{told}"><span>{_signed(season.gain)}</span>'
        f'<svg viewBox="0 0 {scale.WIDTH} 16" role="img" aria-label="{told}">'
        f'<line x1="{zero}" x2="{zero}" y1="0" y2="16" stroke="#b6bcc5"/>'
        f'<line x1="{low}" x2="{high}" y1="8" y2="8" stroke="currentColor" stroke-width="3" opacity="0.45"/>'
        f'<circle cx="{scale.at(season.gain)}" cy="8" r="4" fill="currentColor"/></svg></div>'
    )


def _line_section(walk: WalkForward, overall: Breakdown) -> str:
    against = overall.overall.against_line
    if against is None:
        return (
            "<section><h2>Against the line</h2><p>No graded game had a betting line, so there is no hit rate, no bias "
            "against the line, and no bet.</p></section>"
        )
    rows = {_month_name(m): each.overall.against_line for m, each in walk.measured.items()}
    lines = {name: result for name, result in rows.items() if result is not None}
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            "month", "hit rate", "gain on the line", "our MAE", "the line's", "bias", "lines", "right", "wrong", "push",
            "no bet", "over / under",
        )
    )  # fmt: skip
    body = [_line_row(name, result, "") for name, result in lines.items()]
    body.append(_line_row("all", against, " class=all"))
    tiers = {name: each.against_line for name, each in overall.by["tier"].items()}
    by_tier = [_line_row(name, result, "") for name, result in tiers.items() if result is not None]
    table = f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    tier_table = (
        f"<div class=wide><table><thead><tr>{head.replace('>month<', '>points a game<')}</tr></thead>"
        f"<tbody>{''.join(by_tier)}</tbody></table></div>"
    )
    return (
        f"<section><h2>Against the line</h2><p>{escape(_odds_in_words(against.hit_rate))}</p>"
        f"<p class=soft>Only {_count(len(lines), 'month')} of {len(rows)} had lines. A bet is a prediction {EDGE:g} "
        f"points or more from the line; a result on the line is a push and no bet. Bias is the mean of prediction "
        f"minus line.</p>{table}<details><summary>By tier</summary>{tier_table}</details></section>"
    )


def _line_row(name: str, result: LineResult, attributes: str) -> str:
    rate, gain = result.hit_rate, result.line.gain_interval
    cells = [
        f"{rate.share:.1%} <small>{rate.low:.1%}-{rate.high:.1%}</small>" if rate else "no bet",
        f'<span class="{_tone(result.line)}">{_signed(result.line.gain)}</span> '
        f"<small>{_signed(gain.low, 2)} to {_signed(gain.high, 2)}</small>",
        f"{result.line.model_mae:.3f}",
        f"{result.line.metrics.mae:.3f}",
        _signed(result.bias),
        f"{result.n:,}",
        *((f"{rate.hits:,}", f"{rate.n - rate.hits:,}") if rate else ("0", "0")),
        f"{result.pushes:,}",
        f"{result.passed:,}",
        f"{result.over:,} / {result.under:,}",
    ]
    return f"<tr{attributes}><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _odds_in_words(rate: Proportion | None) -> str:
    if rate is None:
        return "Lines were there, and no prediction lay far enough from one to be a bet."
    share = f"{rate.share:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%}"
    said = f"{rate.hits:,} of {rate.n:,} bets were right: {share}."
    if rate.low > BREAK_EVEN:
        return f"{said} That is above the {BREAK_EVEN:.1%} at which bets at -110 break even."
    if rate.high < BREAK_EVEN:
        return (
            f"{said} That is below the {BREAK_EVEN:.1%} at which bets at -110 break even: they would have lost money."
        )
    return f"{said} From the {BREAK_EVEN:.1%} at which bets at -110 break even it cannot be told apart."


def _notes(walk: WalkForward) -> str:
    if not walk.notes:
        return ""
    lines = "".join(f"<li><b>{escape(_month_name(month))}</b>: {escape(why)}</li>" for month, why in walk.notes.items())
    return f"<section><h2>Months without a number</h2><ul>{lines}</ul></section>"


def _glossary() -> str:
    told = {
        "MAE": "mean absolute error, in points; the small numbers are its 95% interval, by resampling whole days",
        "gain": "the season average's MAE minus the model's, on the very same rows; above 0 the model is better",
        "coverage": f"share of results inside the {LOW:.0%} to {HIGH:.0%} interval; {HIGH - LOW:.0%} is right",
        "bias": "mean of prediction minus result; points are skewed, so a model of the median lies below the mean",
        "RMSE": "root mean squared error, in points",
        "hit rate": "right / (right + wrong), with its 95% Wilson interval",
        "mock": "the rule of thumb that was in production before there was a model",
    }
    lines = "".join(f"<li><b>{name}</b>: {escape(meaning)}</li>" for name, meaning in told.items())
    return f"<section><h2>How to read this</h2><ul>{lines}</ul></section>"


def _promised(walk: WalkForward, month: str) -> float | None:
    model = walk.months[month].model
    return model.validation.mae if model else None


def _has_season(each: Slice) -> bool:
    return "season_average" in each.baselines


def _tone(result: BaselineResult) -> str:
    """good, bad or unclear: where the interval of the gain lies."""
    return "good" if result.gain_interval.low > 0 else "bad" if result.gain_interval.high < 0 else "unclear"


def _signed(value: float, digits: int = 3) -> str:
    """With its sign, a real minus, and no minus before a zero."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rows(each: Slice) -> str:
    return f"{each.metrics.n:,} predictions on {each.days:,} days"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _month_name(month: str) -> str:
    year, number = parse_month(month)
    return f"{calendar.month_abbr[number]} {year}"
