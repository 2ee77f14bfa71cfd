"""The model card: what a model is for, how good it is and for whom, and how to load it.

A function of the training report, the record and the verdict: the same model gives the same card, byte for byte. The
front matter is the `model-index` of Hugging Face's model cards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import BREAK_EVEN
from nba_ml.evaluation.market_claim import claim
from nba_ml.evaluation.report import charts
from nba_ml.evaluation.report.market import claim_in_words
from nba_ml.evaluation.report.marks import count, number, signed, tone
from nba_ml.evaluation.report.reliability import reliability_sections
from nba_ml.evaluation.report.sections import Section, Tile, html_page, markdown_page
from nba_ml.evaluation.report.tables import Cell, Row, Table, WithInterval
from nba_ml.model import baselines
from nba_ml.model.comparison import BaselineResult
from nba_ml.model.diagnosis import EXPLAINED_ROWS, ModelDiagnosis
from nba_ml.model.distribution import DistributionScores
from nba_ml.model.record import ModelRecord
from nba_ml.model.stored import METADATA, MODEL
from nba_ml.model.tiers import TIER_NAMES
from nba_ml.registry.artifact import ARTIFACT, Artifact
from nba_ml.registry.refusal import Refusal
from nba_ml.registry.verdict import CheckVerdict, Verdict
from nba_ml.storage.months import MonthStore

_LOAD = """from nba_ml.serving import Predictor

predictor = Predictor.load("{root}", model_id="{model_id}")
record = predictor.predict({{"points_avg_last_5": 21.4, ..., "player_lookup": "lukadoncic"}})
record.predicted_points, record.points_low, record.points_high"""


@dataclass(frozen=True, slots=True)
class Card:
    """What the card is made from.

    `diagnosis` is None for a model that was trained before there was one. `verdict` is that of the checks and
    `refusal` says why the model was not published; both None if nothing has decided yet.
    """

    record: ModelRecord
    diagnosis: ModelDiagnosis | None
    verdict: Verdict | None = None
    refusal: Refusal | None = None

    def html(self) -> str:
        """One page without outside resources."""
        title = f"Model card: {self.record.model_id}"
        return html_page(title, self.record.model_id, self.summary, self._tiles(), self._sections())

    def markdown(self) -> str:
        """The same without charts; begins with the front matter."""
        return markdown_page(_front_matter(self.record), self.record.model_id, self.summary, self._sections())

    @property
    def summary(self) -> str:
        """What it predicts, from what, and how good it is, in a paragraph."""
        record, judged = self.record, self.record.metrics
        text = (
            f"Predicts the points of an NBA player in a game. An XGBoost model of {record.best_iteration + 1} trees, "
            f"given {record.rows:,} games of {count(record.players, 'player')} from {record.first_date} to "
            f"{record.last_date}. On {judged.validation.n:,} held-out games its mean absolute error is "
            f"{judged.validation.mae:.3f} points"
        )
        season = judged.baselines.get("season_average")
        return f"{text}{_against_average(season)}." if season else f"{text}."

    def _tiles(self) -> Iterator[Tile]:
        judged = self.record.metrics
        interval, coverage = judged.validation_mae_interval, judged.published_coverage.overall
        yield Tile(f"{judged.validation.mae:.3f}", "mean absolute error", f"{interval.low:.3f} to {interval.high:.3f}")
        season = judged.baselines.get("season_average")
        if season is not None:
            gain = season.gain_interval
            detail = f"{signed(gain.low)} to {signed(gain.high)}"
            yield Tile(signed(season.gain), "gain on the season average", detail, tone(season))
        yield Tile(
            f"{coverage.inside:.1%}",
            "of results inside the 10% to 90% interval",
            f"target {coverage.nominal:.0%}; {coverage.below:.1%} below, {coverage.above:.1%} above",
        )
        yield Tile(
            f"{judged.validation.within_3:.0%} / {judged.validation.within_5:.0%}",
            "within 3 and 5 points",
            f"{judged.validation.n:,} held-out games",
        )

    def _sections(self) -> Iterator[Section]:
        record, diagnosis = self.record, self.diagnosis
        yield _use()
        yield _data(record)
        yield _results(record)
        yield _by_tier(record, diagnosis)
        yield _calibration(record)
        if diagnosis is not None:
            yield from reliability_sections(diagnosis, "held-out")
        yield _importance(record, diagnosis)
        yield self._decision()
        load = _LOAD.format(root="gs://my-bucket/models", model_id=record.model_id)
        lead = f"The loader verifies the bundle first, and {count(len(record.reference_rows), 'prediction')} of it."
        yield Section("How to load it", lead=lead, code=load)
        yield Section("Licence of the data", paragraphs=[_LICENCE])
        yield Section("Versions", terms=record.libraries)

    def _decision(self) -> Section:
        """The checks, and what came of them."""
        if self.refusal is not None:
            rows = [Row(row.pop("check"), list(row.values())) for row in self.refusal.table]
            return Section(
                "Checks and verdict",
                paragraphs=[f"Not published. {self.refusal}"],
                table=Table(["check", "value", "required", "rows"], rows),
            )
        verdict = self.verdict
        if verdict is None:
            return Section("Checks and verdict", paragraphs=["The checks have not decided on publication yet."])
        passed = sum(check.passed for check in verdict.checks)
        changed = ", ".join(f"{name} = {value}" for name, value in sorted(verdict.thresholds.items()))
        return Section(
            "Checks and verdict",
            paragraphs=[
                f"Published: {passed} of {count(len(verdict.checks), 'blocking check')} passed for exactly these bytes"
                f"{'; the others were overridden by a person' if verdict.overrides else ''}.",
                f"Limits that differ from the shipped ones: {changed or 'none'}.",
            ],
            terms={each.check: f"overridden: {each.reason}" for each in verdict.overrides},
            summary="All checks",
            details=[("", _checks_table(verdict.checks))],
        )


def card_of(months: MonthStore, month: str, system: System = XGBOOST_V1) -> Card | None:
    """The card of a month's model as it is stored, with what came of its checks; None if there is no model.

    Raises:
        StaleInputError: what is stored is damaged.
    """
    trained, described = months.load(MODEL.of(system), month), months.load(METADATA.of(system), month)
    record = described.record if described else None
    if trained is None or record is None:
        return None
    # A report of another training says nothing about this record.
    diagnosis = trained.report.diagnosis if trained.report.model_sha256 == record.model_sha256 else None
    artifact = months.load(ARTIFACT.of(system), month) or Artifact()
    refusal = artifact.refused if artifact.refused and artifact.refused.model_id == record.model_id else None
    verdict = artifact.verdict if artifact.model_id == record.model_id else None
    return Card(record, diagnosis, verdict, refusal)


_LICENCE = (
    "The box scores and lines that ship with nba_ml are under the MIT licence; nba_ml/sample_data/NOTICE names their "
    "sources. A model that was trained on data of your own is subject to the licence of that data."
)


def _use() -> Section:
    return Section(
        "Use",
        terms={
            "For": "the number of points of a player in a game that has not begun, with an 80% interval",
            "Not for": f"betting: {claim_in_words(claim(None))}, since a model is published before there are prices to "
            f"grade it with. At odds of -110, {BREAK_EVEN:.1%} of bets must be right to break even",
            "Does not know": "what was announced shortly before a game (injuries, line-ups, rest), other than through "
            "the line",
        },
    )


def _data(record: ModelRecord) -> Section:
    rows = [
        Row(
            name.replace("_", " "), [side.first.isoformat(), side.last.isoformat(), f"{side.dates:,}", f"{side.rows:,}"]
        )
        for name, side in record.split.sides().items()
    ]
    refitted = record.measured_sha256 != record.model_sha256
    shipped = (
        "The published booster was then fitted anew on all rows, with as many trees."
        if refitted
        else "The published booster is the one that was measured."
    )
    if record.engine is not None:
        shipped += (
            f" {count(record.engine.workers, 'worker')} of a Dask cluster trained; other numbers give other bytes."
        )
    return Section(
        "Data",
        paragraphs=[
            f"{count(len(record.months), 'month')} with games, {record.months[0]} to {record.months[-1]}; "
            f"{len(record.feature_names)} features ({record.feature_version}). Split by time: fitted on the first "
            f"part, stopped and calibrated on the second, measured on the third. {shipped}"
        ],
        table=Table(["part", "first game", "last game", "days", "rows"], rows),
    )


def _results(record: ModelRecord) -> Section:
    judged = record.metrics
    interval, ours = judged.validation_mae_interval, judged.validation
    mae: Cell = WithInterval(f"{ours.mae:.3f}", f"{interval.low:.3f} to {interval.high:.3f}")
    rows = [Row("model", [mae, "-", f"{ours.n:,}", f"{ours.mae:.3f}"], total=True)]
    rows += [
        Row(name.replace("_", " "), [f"{b.metrics.mae:.3f}", _gain(b), f"{b.metrics.n:,}", f"{b.model_mae:.3f}"])
        for name in baselines.BASELINES
        if (b := judged.baselines.get(name)) is not None
    ]
    return Section(
        "Results",
        lead="On the held-out games of the third part. The gain is the other's error minus the model's on the same "
        "games, with its 95% interval (bootstrap over days); above 0 the model is better.",
        paragraphs=[
            f"Bias (prediction minus result) {signed(ours.bias)}, RMSE {ours.rmse:.3f}; {judged.above_prediction:.1%} "
            "of the results are above the prediction, which is a median."
        ],
        table=Table(["predictor", "MAE", "gain of the model", "rows", "model's MAE"], rows),
    )


def _by_tier(record: ModelRecord, diagnosis: ModelDiagnosis | None) -> Section:
    judged, coverage = record.metrics, record.metrics.published_coverage.tiers
    mae = diagnosis.tier_mae if diagnosis else {}
    averages = ("season_average", "last_10_average", "last_5_average")
    rows = [
        Row(
            name,
            [
                f"{tier.n:,}",
                f"{tier.mae:.3f}",
                *(number(mae.get(name, {}).get(average)) for average in averages),
                signed(tier.bias),
                f"{coverage[name].inside:.1%}",
            ],
        )
        for name in TIER_NAMES
        if (tier := judged.tiers.get(name)) is not None
    ]
    names = ["points a game", "rows", "MAE", "season average", "last 10", "last 5", "bias", "in interval"]
    return Section(
        "By tier of season average",
        charts=[charts.tier_chart(diagnosis.tier_mae)] if diagnosis else (),
        table=Table(names, rows),
    )


def _calibration(record: ModelRecord) -> Section:
    calibration, measured = record.spread, record.metrics.distribution
    told = (
        f"{calibration.line_rows:,} of them had a betting line: {calibration.line_trust:.0%} of the difference between "
        "prediction and line is believed when the probability of going over it is computed."
        if calibration.line_rows
        else "None of them had a betting line, so a line is taken as it is when the probability of going over it is "
        "computed."
    )
    return Section(
        "Calibration",
        paragraphs=[
            f"Interval and probabilities are learnt from {calibration.rows:,} games of the second part. {told}",
            *([] if measured is None else [_distribution(measured.overall)]),
        ],
    )


def _distribution(scores: DistributionScores) -> str:
    return (
        "The distribution has 19 quantiles, at 5% to 95%. On the held-out games its continuous ranked probability "
        f"score is {scores.crps:.3f} points; its 90% interval holds {scores.coverage_90.inside:.1%} of the results. "
        f"The variance of its probability integral transform is {scores.pit_variance:.4f}: 0.0833 is right, more means "
        "too narrow, less too wide."
    )


def _importance(record: ModelRecord, diagnosis: ModelDiagnosis | None) -> Section:
    if diagnosis is None:
        rows = [Row(name, [f"{share:.1%}"]) for name, share in record.importance.items() if share > 0]
        return Section("Importance", table=Table(["feature", "share of gain"], rows[: charts.MOST_FEATURES]))
    return Section(
        "Importance",
        lead="Contribution: how many points the feature moves a prediction up or down, on average (SHAP values, "
        f"computed by XGBoost for {EXPLAINED_ROWS} held-out games). Gain: its share in the reduction of the training "
        "error. Neither says what causes points.",
        charts=[charts.importance_chart(record.importance, diagnosis.contributions)],
        table=charts.importance_table(record.importance, diagnosis.contributions, charts.MOST_FEATURES),
    )


def _checks_table(checks: tuple[CheckVerdict, ...]) -> Table:
    """A row for each check; those of snapshots have a result for every month."""
    rows = []
    for key in sorted({check.key for check in checks}):
        months = sorted((check.month, check.passed, check.found) for check in checks if check.key == key)
        failed = [f"{month}: {found or 'failed'}" for month, passed, found in months if not passed]
        extent = months[0][0] if len(months) == 1 else f"{len(months)} to {months[-1][0]}"
        rows.append(Row(key, [extent, "; ".join(failed) or "passed"]))
    return Table(["check", "months", "result"], rows)


def _gain(result: BaselineResult) -> Cell:
    interval = result.gain_interval
    return WithInterval(signed(result.gain), f"{signed(interval.low)} to {signed(interval.high)}", tone(result))


def _against_average(season: BaselineResult) -> str:
    """Compared with the season average, right in every case."""
    average = f"the season average's {season.metrics.mae:.3f}"
    if season.gain_interval.low > 0:
        return f", better than {average}"
    if season.gain_interval.high < 0:
        return f", worse than {average}"
    return f", not significantly different from {average}"


def _front_matter(record: ModelRecord) -> str:
    """YAML: its values are JSON, which is YAML too."""
    judged = record.metrics
    season = judged.baselines.get("season_average")
    metrics: list[dict[str, Any]] = [
        {"type": "mae", "name": "Mean absolute error, points", "value": judged.validation.mae},
        {"type": "rmse", "name": "Root mean squared error, points", "value": judged.validation.rmse},
        {
            "type": "coverage",
            "name": "Results inside the 80% interval",
            "value": judged.published_coverage.overall.inside,
        },
    ]
    if season is not None:
        metrics.append({"type": "gain", "name": "MAE of the season average minus the model's", "value": season.gain})
    model = {
        "name": record.model_id,
        "results": [
            {
                "task": {"type": "tabular-regression", "name": "Points of a player in a game"},
                "dataset": {
                    "type": "nba_player_games",
                    "name": "NBA player-games",
                    "split": f"validation {_validation_dates(record)}",
                    "revision": record.split.digest,
                },
                "metrics": metrics,
            }
        ],
    }
    tags = ["tabular-regression", "basketball", "nba"]
    index = json.dumps([model], indent=2, ensure_ascii=False)
    return f"library_name: xgboost\npipeline_tag: tabular-regression\ntags: {json.dumps(tags)}\nmodel-index: {index}\n"


def _validation_dates(record: ModelRecord) -> str:
    side = record.split.validation
    return f"{side.first.isoformat()} to {side.last.isoformat()}" if side else "none"
