"""The sections about where predictions are right: of a model's held-out games, and of all graded games."""

from __future__ import annotations

from collections.abc import Iterator

from nba_ml.evaluation.report.charts import misses_table, over_table, reliability_charts, residual_table
from nba_ml.evaluation.report.marks import count
from nba_ml.evaluation.report.sections import Section
from nba_ml.model.diagnosis import Diagnosis


def reliability_sections(diagnosis: Diagnosis, games: str) -> Iterator[Section]:
    """Residuals, interval, over probability and the largest misses; `games` says which: `held-out` or `graded`."""
    drawn = reliability_charts(diagnosis)
    yield Section(
        "Residuals and interval",
        lead="A residual is result minus prediction. Inside the interval there should be 80% of the results, whatever "
        "the prediction.",
        charts=[drawn["residuals"], drawn["interval"]],
        table=residual_table(diagnosis),
    )
    if diagnosis.over:
        yield Section(
            "Over probability",
            lead="How often results went over the line, compared with the probability that was stated. Pushes are left "
            "out.",
            charts=[drawn["over_probability"]],
            table=over_table(diagnosis),
        )
    else:
        yield Section("Over probability", paragraphs=[f"No {games} game had a betting line."])
    yield Section(
        "Largest misses",
        lead=f"The {count(len(diagnosis.misses), f'{games} game')} that the predictions were furthest from.",
        table=misses_table(diagnosis.misses),
    )
