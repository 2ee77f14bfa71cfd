"""The model card: the same for the same model, true whatever the numbers are, and safe to open."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
import yaml

from nba_ml.contract.text import printable
from nba_ml.evaluation.report.card import Card
from nba_ml.model.tiers import TIER_NAMES
from nba_ml.registry.refusal import Refusal, RefusedCheck
from nba_ml.registry.verdict import CheckVerdict, Override, Verdict
from nba_ml_tests.conftest import Trained
from nba_ml_tests.evaluation.test_walk_forward import _Resources, text_of

KEY = "xgboost_model.beats_last_10_average"


def verdict_on(trained: Trained, reason: str = "Accepted for the play-offs only.") -> Verdict:
    checks = (
        CheckVerdict(asset="train_split", check="shares", month="2021-12", passed=True, subject="0"),
        CheckVerdict(
            asset="xgboost_model",
            check="beats_last_10_average",
            month="2021-12",
            passed=False,
            subject="0",
            found="-0.1",
        ),
    )
    return Verdict(
        model_sha256=trained.record.model_sha256, checks=checks, overrides=(Override(check=KEY, reason=reason),)
    )


@pytest.fixture
def card(trained: Trained) -> Card:
    return Card(trained.record, trained.report.diagnosis, verdict_on(trained))


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    found = yaml.safe_load(matter)
    assert isinstance(found, dict)
    return found


def test_the_front_matter_is_a_model_index(card: Card) -> None:
    """Guards against a card that a model hub cannot read, or that gives it another model's numbers."""
    found = front_matter(card.markdown())
    assert found["library_name"] == "xgboost"
    [model] = found["model-index"]
    assert model["name"] == card.record.model_id
    [result] = model["results"]
    assert {"type", "name"} <= result["task"].keys() & result["dataset"].keys()
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["mae"] == card.record.metrics.validation.mae
    assert values["gain"] == card.record.metrics.baselines["season_average"].gain


def test_the_card_says_what_there_is_to_know(card: Card) -> None:
    """Guards against a card without its limits, its checks, its overrides or a way to load the model."""
    page, plain = text_of(card.html()), card.markdown()
    for text in (unescape(page), plain):
        for said in (
            "there are not enough prices to say how it compares with the market",
            "MIT licence",
            "1 of 2 blocking checks passed",
            "overridden: Accepted for the play-offs only.",
            f'model_id="{card.record.model_id}"',
            "season average",
            "Largest misses",
            "80% interval",
            f"learnt from {card.record.calibration.rows:,} games of the second part. None of them had a betting line",
        ):
            assert said in text, said
        assert "nan" not in text.replace("finance", "")
    tiers = [name for name in TIER_NAMES if name in card.record.metrics.tiers]
    section = plain.split("## By tier of season average")[1]
    assert re.findall(r"^\| (\S+(?: history)?) \|", section.split("##")[0], re.MULTILINE)[-len(tiers) :] == tiers


def test_the_same_model_gives_the_same_card(trained: Trained, card: Card) -> None:
    """Guards against a clock or the order of a set: a bundle published again would be another."""
    again = Card(trained.record, trained.report.diagnosis, verdict_on(trained))
    assert (again.html(), again.markdown()) == (card.html(), card.markdown())


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.1, 0.2, "points, better than the season average's"),
        (-0.2, -0.1, "points, worse than the season average's"),
        (-0.1, 0.1, "points, not significantly different from the season average's"),
    ],
    ids=["better", "worse", "unclear"],
)
def test_the_summary_follows_the_interval(card: Card, low: float, high: float, says: str) -> None:
    """Guards against praise whatever the numbers are."""
    metrics = card.record.metrics
    season = metrics.baselines["season_average"]
    interval = season.gain_interval.model_copy(update={"low": low, "high": high})
    baselines = {**metrics.baselines, "season_average": season.model_copy(update={"gain_interval": interval})}
    record = card.record.model_copy(update={"metrics": metrics.model_copy(update={"baselines": baselines})})
    assert says in Card(record, None).summary


def test_a_model_without_a_diagnosis_verdict_or_baseline_has_a_card(card: Card) -> None:
    """Guards models that an earlier version trained, models that were refused, and a first month without averages."""
    bare = card.record.model_copy(update={"metrics": card.record.metrics.model_copy(update={"baselines": {}})})
    undecided = Card(bare, None)
    assert "The checks have not decided on publication yet." in undecided.markdown()
    assert "<svg" not in undecided.html()
    check = RefusedCheck(
        asset="xgboost_model", check="validation_mae", month="2021-12", value="9.1", required="at most 6", rows=847
    )
    refused = Card(card.record, None, refusal=Refusal(month="2021-12", model_id="m", checks=(check,)))
    for text in (refused.markdown(), text_of(refused.html())):
        assert "Not published." in text
        assert "at most 6" in text
        assert "847" in text


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "a | b\n\n## Heading",
        "[click](javascript:alert(1))",
        "</td><img src=x>",
        "`x` *y* _z_",
    ],
    ids=["script", "table and heading", "link", "image", "marks"],
)
def test_a_reason_is_shown_and_never_interpreted(trained: Trained, hostile: str) -> None:
    """Guards against markup that a person, or a file, put into a name or a reason."""
    diagnosis = trained.report.diagnosis
    assert diagnosis is not None
    miss = diagnosis.misses[0].model_copy(update={"player_lookup": hostile})
    named = diagnosis.model_copy(update={"misses": (miss,)})
    plain = Card(trained.record, diagnosis.model_copy(update={"misses": (diagnosis.misses[0],)}), verdict_on(trained))
    card = Card(trained.record, named, verdict_on(trained, hostile))
    found, expected = _Resources(), _Resources()
    found.feed(card.html())
    expected.feed(plain.html())
    assert found.tags == expected.tags
    assert found.addresses == []
    shown = unescape(text_of(card.html()))
    # A reason's line breaks are written out where it is given.
    assert sum(shown.count(form) for form in {" ".join(hostile.split()), printable(hostile)}) == 2
    text = card.markdown()
    assert text.count("\n## ") == plain.markdown().count("\n## ")
    for mark in ("<script", "<img", r"(?<!\\)\]\(", r"a \| b", r"(?<!\\)`x", r"(?<!\\)\*y", r" _z"):
        assert not re.search(mark, text), mark
