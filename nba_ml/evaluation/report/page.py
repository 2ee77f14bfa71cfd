"""The report page: its sections in reading order. `page.html.jinja` turns them into HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from nba_ml.contract.thresholds import BREAK_EVEN
from nba_ml.evaluation.grades import Breakdown, Slice
from nba_ml.evaluation.market import MarketResult, break_even_of
from nba_ml.evaluation.market_claim import claim
from nba_ml.evaluation.report.market import claim_in_words, market_section
from nba_ml.evaluation.report.marks import count, month_name, population, signed, tone
from nba_ml.evaluation.report.reliability import reliability_sections
from nba_ml.evaluation.report.sections import Section, Tile, html_page
from nba_ml.evaluation.report.sentences import headline, odds_in_words, verdict
from nba_ml.evaluation.report.tables import Cell, Row, Table, WithInterval, bets_table, slices_table
from nba_ml.evaluation.shadow import SystemGrade
from nba_ml.evaluation.walk_forward import GradedGames, WalkForward, month_ranges
from nba_ml.model.calibration import HIGH, LOW
from nba_ml.model.diagnosis import Diagnosis
from nba_ml.model.distribution import DistributionScores
from nba_ml.model.recommendation import EDGE, USUAL_ODDS

_TITLE = "nba_ml: walk-forward"


def walk_forward_page(
    walk: WalkForward,
    games: GradedGames | None,
    *,
    wide_picture: bytes,
    narrow_picture: bytes,
    systems: Section | None = None,
) -> str:
    """The page of one system as HTML.

    `games` are the graded rows of the same months. The pictures are PNGs of the curve, for wide screens and for phones.
    `systems` compares it with the others, where there are any.
    """
    overall = walk.overall
    if overall is None or games is None:
        return html_page(_TITLE, "Walk-forward", "No month has graded results yet.", (), _notes(walk))
    picture = {"wide": base64.b64encode(wide_picture).decode(), "narrow": base64.b64encode(narrow_picture).decode()}
    return html_page(
        _TITLE,
        f"{headline(overall.overall)}; {claim_in_words(claim(walk.market))}",
        verdict(walk, overall.overall),
        _tiles(overall.overall, walk.market),
        [
            _data(walk, games),
            *([systems] if systems else []),
            *_sections(walk, overall, games.diagnosis, picture),
            *_notes(walk),
            _glossary(),
        ],
    )


def _tiles(overall: Slice, market: MarketResult | None) -> Iterator[Tile]:
    interval, coverage = overall.mae_interval, overall.coverage
    yield Tile(f"{overall.metrics.mae:.3f}", "mean absolute error", f"{interval.low:.3f} to {interval.high:.3f}")
    season = overall.baselines.get("season_average")
    if season is not None:
        gain = season.gain_interval
        yield Tile(
            signed(season.gain), "gain on the season average", f"{gain.low:.3f} to {gain.high:.3f}", tone(season)
        )
    line = overall.against_line
    if line is not None:
        gain, n = line.line.gain_interval, line.n
        detail = f"{signed(gain.low)} to {signed(gain.high)}, on the {n:,} with a line"
        yield Tile(signed(line.line.gain), "gain on the betting line", detail, tone(line.line))
    if line is not None and line.hit_rate is not None:
        rate = line.hit_rate
        needed = break_even_of(line.over + line.under, market, BREAK_EVEN)
        detail = f"{rate.low:.1%} to {rate.high:.1%}; break-even {needed:.1%}"
        yield Tile(f"{rate.share:.1%}", f"of {rate.n:,} bets right", detail)
    yield Tile(
        f"{coverage.inside:.1%}",
        f"of results inside the {LOW:.0%} to {HIGH:.0%} interval",
        f"target {coverage.nominal:.0%}; {coverage.below:.1%} below, {coverage.above:.1%} above",
    )
    yield Tile(
        f"{overall.metrics.within_3:.0%} / {overall.metrics.within_5:.0%}",
        "within 3 and 5 points",
        population(overall),
    )


def _data(walk: WalkForward, games: GradedGames) -> Section:
    """What was graded, and which models predicted it."""
    models = {month: each.model for month, each in walk.months.items() if each.breakdown is not None and each.model}
    rows = [Row(month_name(month), [model.model_version, model.newest_month]) for month, model in models.items()]
    ids = list(dict.fromkeys(model.model_version for model in models.values()))
    named = f"{count(len(ids), 'model')}, from {ids[0]} to {ids[-1]}" if len(ids) > 1 else "".join(ids) or "no record"
    return Section(
        "Data and models",
        paragraphs=[f"Graded games from {games.first} to {games.last}. Predicted by {named}."],
        summary="The model of each month",
        details=[("", Table(["month", "model", "trained up to"], rows))] if rows else (),
    )


def _sections(
    walk: WalkForward, overall: Breakdown, diagnosis: Diagnosis, picture: Mapping[str, str]
) -> Iterator[Section]:
    yield Section(
        "Month by month",
        lead="Each month is predicted by the model trained on the months before it. Above: the mean absolute error of "
        "the model and the averages; lower is better. Below: the model's gain on the season average. Above zero the "
        "model is better; green means that the whole 95% interval is above zero.",
        picture=picture,
    )
    yield _by_season(walk, overall)
    yield Section(
        "By tier of season average",
        lead="Errors by the kind of player.",
        table=slices_table("points a game", overall.by["tier"]),
    )
    yield Section("Home and away", table=slices_table("venue", overall.by["venue"]))
    yield Section(
        "Rest", lead="Back-to-back: the team played the day before.", table=slices_table("rest", overall.by["rest"])
    )
    yield from reliability_sections(diagnosis, "graded")
    yield from _distribution(overall)
    yield _line_section(walk, overall)
    yield market_section(walk.market)
    yield Section(
        "By month of the season",
        lead="Averages need games, so the model's gain on the season average changes over a season.",
        table=slices_table("month", overall.by["month of season"]),
    )
    measured = {month_name(month): each.overall for month, each in walk.measured.items()}
    yield Section(
        "Every month",
        lead="Promised is the MAE of the model's validation, before the month was played.",
        table=slices_table("month", measured, promised={month_name(m): _promised(walk, m) for m in walk.measured}),
    )


def _by_season(walk: WalkForward, overall: Breakdown) -> Section:
    seasons = {season: each.overall for season, each in walk.seasons.items()}
    return Section(
        "By season",
        table=slices_table("season", seasons, total=("all", overall.overall)),
        summary="Each season by tier",
        details=[(season, slices_table("points a game", each.by["tier"])) for season, each in walk.seasons.items()],
    )


def _distribution(overall: Breakdown) -> Iterator[Section]:
    """How right the stated quantiles were, over all and by tier; nothing for models from before there were any."""
    if overall.overall.distribution is None:
        return
    tiers = {name: each.distribution for name, each in overall.by["tier"].items()}
    rows = [Row(name, _distribution_cells(scores)) for name, scores in tiers.items() if scores is not None]
    rows.append(Row("all", _distribution_cells(overall.overall.distribution), total=True))
    yield Section(
        "Distribution",
        lead="Each prediction states a probability for every number of points. CRPS is the error of all of them, "
        "in points; for a single number it is the mean absolute error. PIT is the stated probability of at most the "
        "points that were scored. If the probabilities are right, its mean is 0.5 and its variance 0.0833. A higher "
        "variance means that the distributions are too narrow, a lower one too wide.",
        table=Table(["points a game", "CRPS", "PIT mean", "PIT variance", "inside 80%", "inside 90%", "n"], rows),
    )


def _distribution_cells(scores: DistributionScores) -> list[Cell]:
    return [
        f"{scores.crps:.3f}",
        f"{scores.pit_mean:.3f}",
        f"{scores.pit_variance:.4f}",
        f"{scores.coverage_80.inside:.1%}",
        f"{scores.coverage_90.inside:.1%}",
        f"{scores.n:,}",
    ]


def systems_section(grades: Sequence[SystemGrade], links: Mapping[str, str]) -> Section | None:
    """The systems on the player-games that all of them predicted, with links to the pages of the others.

    None with fewer than two systems. `grades` are relative to the first one.
    """
    if len(grades) < 2:
        return None
    rows = [
        Row(
            each.system_id,
            [
                f"{each.metrics.mae:.3f}",
                _gain_on_the_first(each) if each != grades[0] else "-",
                signed(each.metrics.bias),
                f"{each.metrics.within_3:.0%} / {each.metrics.within_5:.0%}",
            ],
        )
        for each in grades
    ]
    return Section(
        "Systems",
        lead=f"All of them on the {grades[0].metrics.n:,} player-games that each one predicted. The gain is the MAE of "
        f"{grades[0].system_id} minus that of the other system.",
        table=Table(["system", "MAE", "gain", "bias", "within 3 / 5"], rows),
        links=links,
    )


def _gain_on_the_first(grade: SystemGrade) -> WithInterval:
    interval = grade.gain_interval
    return WithInterval(signed(grade.gain), f"{signed(interval.low)} to {signed(interval.high)}")


def _line_section(walk: WalkForward, overall: Breakdown) -> Section:
    against = overall.overall.against_line
    if against is None:
        nothing = "No graded game had a betting line, so there are no bets, no hit rate and no bias against the line."
        return Section("Against the line", paragraphs=[nothing])
    rows = {month_name(m): each.overall.against_line for m, each in walk.measured.items()}
    lines = {name: result for name, result in rows.items() if result is not None}
    tiers = {name: each.against_line for name, each in overall.by["tier"].items()}
    needed = break_even_of(against.over + against.under, walk.market, BREAK_EVEN)
    tier_table = bets_table("points a game", {name: each for name, each in tiers.items() if each is not None})
    return Section(
        "Against the line",
        paragraphs=[odds_in_words(against.hit_rate, needed)],
        lead=f"Only {count(len(lines), 'month')} of {len(rows)} had lines. With a line the prediction lies between it "
        f"and the model's own number, whose MAE is the own MAE. A bet is an own number {EDGE:g} points or more from "
        f"the line whose side wins with a probability above {BREAK_EVEN:.2%}, break-even at odds of {USUAL_ODDS}"
        f"{', or at the price of that side where it has one' if walk.market and walk.market.bets else ''}; a "
        "result equal to the line is a push and does not count. Bias is the mean of the own number minus line.",
        table=bets_table("month", lines, total=("all", against)),
        summary="By tier",
        details=[("", tier_table)],
    )


def _notes(walk: WalkForward) -> Iterator[Section]:
    notes, reasons = walk.notes, {}
    for why in dict.fromkeys(notes.values()):
        for months in month_ranges([month for month in notes if notes[month] == why], walk.every_month):
            reasons[months] = why
    named = {" to ".join(map(month_name, months.split(" to "))): reasons[months] for months in sorted(reasons)}
    if named:
        yield Section("Months without a number", terms=named)


def _glossary() -> Section:
    return Section(
        "How to read this",
        terms={
            "MAE": "mean absolute error in points; the small numbers are its 95% interval (bootstrap over days)",
            "gain": "the season average's MAE minus the model's on the same rows; above 0 the model is better",
            "coverage": f"share of results inside the {LOW:.0%} to {HIGH:.0%} interval; {HIGH - LOW:.0%} is ideal",
            "bias": "mean of prediction minus result; points are skewed, so a model of the median is below the mean",
            "RMSE": "root mean squared error in points",
            "hit rate": "right / (right + wrong), with its 95% Wilson interval",
            "mock": "the rule of thumb used in production before there was a model",
            "Brier score": "mean squared difference of a probability from what happened (0 or 1); a coin has 0.25",
            "slope": "of what happened on the log odds stated; under 1, the probabilities are too far from a half",
        },
    )


def _promised(walk: WalkForward, month: str) -> float | None:
    model = walk.months[month].model
    return model.validation.mae if model else None
