"""The page's tables: slices of the predictions with their gains on a common scale, and bets against the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from nba_ml.evaluation.grades import LineResult, Slice
from nba_ml.evaluation.report.marks import has_season, number, signed, tone
from nba_ml.model.comparison import BaselineResult

_SET_OFF = " class=all"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps points of gain to pixels. Each table has one scale, so its rows are comparable."""

    low: float
    high: float

    WIDTH = 110

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> _Scale:
        """A scale that contains every gain's interval and zero."""
        gains = [each.baselines["season_average"].gain_interval for each in slices if has_season(each)]
        low, high = min([0.0, *(g.low for g in gains)]), max([0.0, *(g.high for g in gains)])
        margin = 0.06 * (high - low) or 0.1
        return cls(low - margin, high + margin)

    def at(self, points: float) -> float:
        """Pixels from the left."""
        return round((points - self.low) / (self.high - self.low) * self.WIDTH, 1)


def slices_table(
    label: str,
    slices: Mapping[str, Slice],
    total: tuple[str, Slice] | None,
    promised: Mapping[str, float | None] | None,
) -> str:
    """One row per slice, as HTML.

    Args:
        label: heading of the first column, which has the slices' names.
        total: a highlighted last row.
        promised: slice -> MAE of the model's validation, in points; None omits the column.
    """
    names = ["MAE", "gain on season average", *(["promised"] if promised is not None else []), "n", "season average"]
    names += ["last 10", "last 5", "mock", "bias", "RMSE", "within 3 / 5", "coverage"]
    scale = _Scale.of(list(slices.values()))
    body = [_row(name, each, scale, promised, "") for name, each in slices.items()]
    if total is not None:
        body.append(_row(*total, scale, None, _SET_OFF))
    return _html_table((label, *names), body)


def bets_table(label: str, results: Mapping[str, LineResult], total: tuple[str, LineResult] | None) -> str:
    """One row per month or tier with lines, as HTML. `label` and `total` as in `slices_table`."""
    names = ["hit rate", "gain on the line", "model MAE", "line MAE", "bias", "lines", "right", "wrong", "push"]
    names += ["no bet", "over / under"]
    body = [_line_row(name, result, "") for name, result in results.items()]
    if total is not None:
        body.append(_line_row(*total, _SET_OFF))
    return _html_table((label, *names), body)


def _row(name: str, each: Slice, scale: _Scale, promised: Mapping[str, float | None] | None, attributes: str) -> str:
    interval = each.mae_interval
    cells = [
        f"{each.metrics.mae:.3f} <small>{interval.low:.2f}-{interval.high:.2f}</small>",
        _gain_cell(each.baselines.get("season_average"), scale),
        *([number(promised[name])] if promised is not None else []),
        f"{each.metrics.n:,}",
        *(
            number(each.baselines[other].metrics.mae if other in each.baselines else None)
            for other in ("season_average", "last_10_average", "last_5_average", "mock")
        ),
        signed(each.metrics.bias),
        f"{each.metrics.rmse:.3f}",
        f"{each.metrics.within_3:.0%} / {each.metrics.within_5:.0%}",
        f"{each.coverage.inside:.1%}",
    ]
    return _html_row(name, cells, attributes)


def _gain_cell(season: BaselineResult | None, scale: _Scale) -> str:
    """The gain as a number, and as a dot on its interval with the zero line."""
    if season is None:
        return "-"
    low, high, zero = scale.at(season.gain_interval.low), scale.at(season.gain_interval.high), scale.at(0.0)
    interval = f"{season.gain_interval.low:.3f} to {season.gain_interval.high:.3f}"
    return (
        f'<div class="gain {tone(season)}" title="{interval}"><span>{signed(season.gain)}</span>'
        f'<svg viewBox="0 0 {scale.WIDTH} 16" role="img" aria-label="{interval}">'
        f'<line x1="{zero}" x2="{zero}" y1="0" y2="16" stroke="#b6bcc5"/>'
        f'<line x1="{low}" x2="{high}" y1="8" y2="8" stroke="currentColor" stroke-width="3" opacity="0.45"/>'
        f'<circle cx="{scale.at(season.gain)}" cy="8" r="4" fill="currentColor"/></svg></div>'
    )


def _line_row(name: str, result: LineResult, attributes: str) -> str:
    rate, gain = result.hit_rate, result.line.gain_interval
    cells = [
        f"{rate.share:.1%} <small>{rate.low:.1%}-{rate.high:.1%}</small>" if rate else "no bet",
        f'<span class="{tone(result.line)}">{signed(result.line.gain)}</span> '
        f"<small>{signed(gain.low, 2)} to {signed(gain.high, 2)}</small>",
        f"{result.line.model_mae:.3f}",
        f"{result.line.metrics.mae:.3f}",
        signed(result.bias),
        f"{result.n:,}",
        *((f"{rate.hits:,}", f"{rate.n - rate.hits:,}") if rate else ("0", "0")),
        f"{result.pushes:,}",
        f"{result.passed:,}",
        f"{result.over:,} / {result.under:,}",
    ]
    return _html_row(name, cells, attributes)


def _html_table(names: Sequence[str], rows: Sequence[str]) -> str:
    """A table. `names` are constants and need no escaping."""
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _html_row(name: str, cells: Sequence[str], attributes: str) -> str:
    return f"<tr{attributes}><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
