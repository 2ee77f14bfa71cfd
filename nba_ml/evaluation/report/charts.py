"""The charts of a diagnosis, and the tables that say the same in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from nba_ml.evaluation.grades import proportion
from nba_ml.evaluation.report.drawing import Dot, Series, bar_chart, dot_chart
from nba_ml.evaluation.report.marks import signed
from nba_ml.evaluation.report.tables import Row, Table, WithInterval
from nba_ml.model.calibration import HIGH, LOW
from nba_ml.model.diagnosis import BANDS, OVER_BANDS, Diagnosis, Miss, ModelDiagnosis

_MODEL, _MEAN = "#0b5cad", "#c2571a"
_PREDICTORS = {
    "model": ("model", _MODEL),
    "season_average": ("season average", "#c2571a"),
    "last_10_average": ("last 10", "#b08a00"),
    "last_5_average": ("last 5", "#9a86ad"),
}

MOST_FEATURES = 12
"""Features in the chart and the table of importance."""


TITLES = {
    "importance": "What moves a prediction",
    "tiers": "Mean absolute error by tier",
    "residuals": "Result minus prediction",
    "interval": "Results inside the interval",
    "over_probability": "Results above the betting line",
}
"""Picture -> what it shows."""


def importance_chart(importance: Mapping[str, float], contributions: Mapping[str, float]) -> Markup:
    """The features by their contributions, in points up or down, with their share of the gain beside it."""
    rows = {name: (contributions[name], importance.get(name, 0.0)) for name in _most(contributions)}
    columns = [("± points", _MODEL, "{:.2f}".format), ("share of gain", "#9bbbdc", "{:.1%}".format)]
    return bar_chart("What moves a prediction", rows, columns)


def residual_chart(diagnosis: Diagnosis) -> Markup:
    """Result minus prediction by predicted points: median with the middle 80%, and mean."""
    middle = {
        _band(b.low, BANDS): Dot(
            b.residual_median, f"median {signed(b.residual_median, 2)}, n {b.n:,}", b.residual_low, b.residual_high
        )
        for b in diagnosis.bands
    }
    mean = {_band(b.low, BANDS): Dot(b.residual, f"mean {signed(b.residual, 2)}") for b in diagnosis.bands}
    return dot_chart(
        "Result minus prediction, points",
        list(middle),
        [Series("median and middle 80%", _MODEL, middle), Series("mean", _MEAN, mean)],
        unit=signed,
        x_label="predicted points",
        targets=dict.fromkeys(middle, 0.0),
    )


def interval_chart(diagnosis: Diagnosis) -> Markup:
    """The share of results inside the interval, by predicted points."""
    dots = {_band(b.low, BANDS): _share(b.inside, b.n) for b in diagnosis.bands}
    return dot_chart(
        f"Results inside the {LOW:.0%} to {HIGH:.0%} interval",
        list(dots),
        [Series("share", _MODEL, dots)],
        unit=_percent,
        x_label="predicted points (dashed: the target)",
        targets=dict.fromkeys(dots, HIGH - LOW),
    )


def over_chart(diagnosis: Diagnosis) -> Markup:
    """How often results went over the line, by the over probability that was stated."""
    dots = {_band(b.low, OVER_BANDS, percent=True): _share(b.over, b.n) for b in diagnosis.over}
    return dot_chart(
        "Results above the betting line",
        list(dots),
        [Series("share", _MODEL, dots)],
        unit=_percent,
        x_label="over probability (dashed: its mean)",
        targets={_band(b.low, OVER_BANDS, percent=True): b.expected for b in diagnosis.over},
    )


def tier_chart(tier_mae: Mapping[str, Mapping[str, float]]) -> Markup:
    """MAE of the model and the averages by tier of season average, where there are averages."""
    tier_mae = {tier: mae for tier, mae in tier_mae.items() if len(mae) > 1} or tier_mae
    series = [
        Series(
            label, colour, {t: Dot(mae[name], f"{label} {mae[name]:.2f}") for t, mae in tier_mae.items() if name in mae}
        )
        for name, (label, colour) in _PREDICTORS.items()
    ]
    return dot_chart(
        "Mean absolute error by tier, points",
        list(tier_mae),
        series,
        unit=lambda value, decimals: f"{value:.{decimals + 1}f}",
        x_label="season average, points a game",
        targets={},
    )


def charts_of(diagnosis: ModelDiagnosis, importance: Mapping[str, float]) -> dict[str, Markup]:
    """Every chart of a model that has data, by the name of its picture."""
    return {
        "importance": importance_chart(importance, diagnosis.contributions),
        "tiers": tier_chart(diagnosis.tier_mae),
        **reliability_charts(diagnosis),
    }


def reliability_charts(diagnosis: Diagnosis) -> dict[str, Markup]:
    """The charts of a diagnosis alone, by the name of the picture."""
    return {
        **({"residuals": residual_chart(diagnosis), "interval": interval_chart(diagnosis)} if diagnosis.bands else {}),
        **({"over_probability": over_chart(diagnosis)} if diagnosis.over else {}),
    }


def importance_table(importance: Mapping[str, float], contributions: Mapping[str, float], most: int) -> Table:
    """The features with the largest contributions, at most `most`."""
    rows = [Row(n, [f"{contributions[n]:.2f}", f"{importance.get(n, 0.0):.1%}"]) for n in _most(contributions)[:most]]
    return Table(["feature", "mean contribution", "share of gain"], rows)


def residual_table(diagnosis: Diagnosis) -> Table:
    """Residuals and coverage by predicted points."""
    names = ["predicted points", "n", "mean residual", "10%", "median", "90%", "inside the interval"]
    rows = [
        Row(
            _band(b.low, BANDS),
            [
                f"{b.n:,}",
                *(signed(each, 2) for each in (b.residual, b.residual_low, b.residual_median, b.residual_high)),
                _share_cell(b.inside, b.n),
            ],
        )
        for b in diagnosis.bands
    ]
    return Table(names, rows)


def over_table(diagnosis: Diagnosis) -> Table:
    """The over probability against what happened."""
    rows = [
        Row(_band(b.low, OVER_BANDS, percent=True), [f"{b.n:,}", f"{b.expected:.1%}", _share_cell(b.over, b.n)])
        for b in diagnosis.over
    ]
    return Table(["over probability", "n", "mean probability", "went over"], rows)


def misses_table(misses: Sequence[Miss]) -> Table:
    """The largest misses; `missed by` is result minus prediction."""
    rows = [
        Row(m.player_lookup, [m.game_date, f"{m.predicted:.2f}", f"{m.points:g}", signed(m.points - m.predicted, 2)])
        for m in misses
    ]
    return Table(["player", "date", "predicted", "points", "missed by"], rows)


def _most(contributions: Mapping[str, float]) -> list[str]:
    return [name for name, value in contributions.items() if value > 0][:MOST_FEATURES]


def _percent(value: float, decimals: int) -> str:
    return f"{value:.{decimals}%}"


def _band(low: float, bounds: Sequence[float], *, percent: bool = False) -> str:
    at = bounds.index(low)
    scale = 100 if percent else 1
    if at + 1 == len(bounds):
        return f"{low * scale:g}%+" if percent else f"{low:g}+"
    text = f"{low * scale:g}-{bounds[at + 1] * scale:g}"
    return f"{text}%" if percent else text


def _share(hits: int, n: int) -> Dot:
    found = proportion(hits, n)
    if found is None:
        raise ValueError("a band without rows is omitted")
    return Dot(found.share, f"{found.share:.1%} of {n:,} ({found.low:.1%} to {found.high:.1%})", found.low, found.high)


def _share_cell(hits: int, n: int) -> WithInterval | str:
    found = proportion(hits, n)
    return WithInterval(f"{found.share:.1%}", f"{found.low:.1%} to {found.high:.1%}") if found else "-"
