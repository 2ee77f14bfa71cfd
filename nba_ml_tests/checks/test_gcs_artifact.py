"""Checks of what was published or refused, against a real bundle in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml.checks.check import Finding, Severity
from nba_ml.checks.gcs_artifact import checks
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.checks import result_of
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.publication import Bundle, publish
from nba_ml.registry.refusal import Refusal, RefusedCheck
from nba_ml.registry.verdict import CheckVerdict, Verdict
from nba_ml.storage.opening import open_objects
from nba_ml_tests.checks.scenes import scene, told
from nba_ml_tests.conftest import Trained

MONTH = "2021-12"
CARD = b"# The card"
PUBLICATION, CHECK = checks(Thresholds())


@pytest.fixture
def artifact(trained: Trained, tmp_path: Path) -> Artifact:
    """The small real model, published into the test's own directory."""
    return published(trained, tmp_path)


def published(trained: Trained, root: Path, check: str = "validation_mae") -> Artifact:
    """The small real model, published into a directory under the verdict of one check."""
    record = trained.record
    passed = CheckVerdict(asset="xgboost_model", check=check, month=MONTH, passed=True, subject=record.model_sha256)
    verdict = Verdict(model_sha256=record.model_sha256, checks=(passed,))
    bundle = Bundle(record.model_id, trained.fitted.booster, record.to_bytes(), verdict, {"model_card.md": CARD})
    done = publish(open_objects(str(root)), bundle)
    parts = {"booster": done.booster, "metadata": done.record, "manifest": done.manifest}
    return Artifact(
        model_id=done.model_id,
        uris={name: part.uri for name, part in parts.items()},
        generations={name: part.generation for name, part in parts.items()},
        sha256={name: part.sha256 for name, part in parts.items()},
        verdict=verdict,
    )


def examined(artifact: Artifact, root: Path) -> Finding:
    return CHECK.examine(artifact, scene(MONTH, artifacts=open_objects(str(root))))


@pytest.mark.slow
def test_a_published_bundle_passes(artifact: Artifact, tmp_path: Path) -> None:
    """Guards against checks that refuse what the publisher wrote, or look at nothing."""
    loaded = examined(artifact, tmp_path)
    assert (loaded.passed, loaded.value, loaded.n) == (True, 20, 20)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["booster", "record", "manifest", "card"])
def test_a_byte_that_changed_since_is_found(artifact: Artifact, tmp_path: Path, part: str) -> None:
    """Guards against a store that damages what it keeps, found out by the prediction worker."""
    names = BundleNames.of(str(artifact.model_id))
    name = names.document("model_card.md", CARD) if part == "card" else getattr(names, part)
    file = tmp_path / name
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    passed, message, _ = told(CHECK, examined(artifact, tmp_path))
    assert not passed
    assert f"The bundle cannot be trusted. {name}: expected " in message


def test_an_object_that_is_gone_is_found(artifact: Artifact, tmp_path: Path) -> None:
    """Guards against a clean-up job that nobody told of the models."""
    (tmp_path / BundleNames.of(str(artifact.model_id)).record).unlink()
    passed, message, _ = told(CHECK, examined(artifact, tmp_path))
    assert not passed
    assert f"{BundleNames.of(str(artifact.model_id)).record}: expected an object" in message


@pytest.mark.slow
def test_another_bundle_under_the_same_names_is_found(artifact: Artifact, trained: Trained, tmp_path: Path) -> None:
    """Guards against a bundle that is complete in itself, and is not the one that was published: its verdict differs,
    and so nothing but the manifest's own digest tells."""
    other = published(trained, tmp_path / "elsewhere", check="bias")
    names = BundleNames.of(str(artifact.model_id))
    assert names == BundleNames.of(str(other.model_id))
    (tmp_path / names.manifest).chmod(0o644)
    (tmp_path / names.manifest).write_bytes((tmp_path / "elsewhere" / names.manifest).read_bytes())
    passed, message, _ = told(CHECK, examined(artifact, tmp_path))
    assert not passed
    assert artifact.sha256["manifest"] in message
    assert other.sha256["manifest"] in message
    assert examined(other, tmp_path).passed


def test_nothing_published_yet_passes_and_opens_no_store() -> None:
    """Guards against an October before the first model that needs a bucket."""
    finding = CHECK.examine(Artifact(), scene("2021-10"))
    assert (finding.passed, finding.value, finding.n) == (True, "nothing published yet", 0)


def test_a_failure_is_an_error_and_comes_too_late_to_block() -> None:
    """Guards against a publisher that waits for checks of what it has not published yet."""
    assert (CHECK.severity, CHECK.blocking) == (Severity.ERROR, False)


def refused_by(*names: str, value: str = "-0.12 points") -> Artifact:
    """A month whose model did not pass these checks."""
    failed = [
        RefusedCheck(asset="xgboost_model", check=each, month=MONTH, value=value, required="above 0", rows=847)
        for each in names
    ]
    return Artifact(
        refused=Refusal(month=MONTH, model_id="xgboost_v1_33features_202112_0123456789ab", checks=tuple(failed))
    )


def publication(artifact: Artifact, month: str, root: Path) -> tuple[bool, str, str]:
    """Whether the check passed, its severity, and its text; one model, of 2021-12, is published under the root."""
    result = result_of(PUBLICATION, PUBLICATION.examine(artifact, scene(month, artifacts=open_objects(str(root)))))
    return result.passed, result.severity.value, str(result.description)


def test_a_refused_month_is_an_error_until_a_later_one_is_published(artifact: Artifact, tmp_path: Path) -> None:
    """Guards against a newest month that is green without a model, and an old one that stays red for ever."""
    refused = refused_by("validation_mae")
    passed, severity, said = publication(refused, "2022-01", tmp_path)
    assert (passed, severity) == (False, "ERROR")
    assert said.startswith("failed: Publication: refused by validation_mae, required: every blocking check has passed")
    assert publication(refused, MONTH, tmp_path)[:2] == (False, "ERROR"), "an older model of the month is published"
    passed, severity, said = publication(refused, "2021-11", tmp_path)
    assert (passed, severity) == (False, "WARN")
    assert said.startswith("warned: ")
    assert "A later model, of 2021-12, is published." in said
    assert publication(artifact, MONTH, tmp_path)[0]


@pytest.mark.parametrize(("value", "says"), [("-0.12 points", "is better"), ("0.01 points", "may be as good")])
def test_before_the_first_model_an_average_is_the_better_one(
    artifact: Artifact, tmp_path: Path, value: str, says: str
) -> None:
    """Guards against red first months, which have too few rows for a model; a leak is never explained away."""
    early = refused_by("beats_season_average", "results_above_prediction", value=value)
    for root in (tmp_path, tmp_path / "nothing published"):
        passed, _, said = publication(early, "2021-11", root)
        assert passed
        assert f"no model yet: the season average {says}" in said
    assert artifact.model_id
    assert not publication(early, "2022-01", tmp_path)[0]
    assert publication(refused_by("not_too_good"), "2021-11", tmp_path / "nothing published")[:2] == (False, "ERROR")


def test_a_month_without_rows_to_train_on_has_no_model_yet() -> None:
    """Guards against a first October that is red."""
    finding = PUBLICATION.examine(Artifact(), scene("2021-10"))
    assert (finding.passed, finding.value) == (True, "no model yet: too few rows to train on")


def test_a_refusal_is_another_value_than_nothing() -> None:
    """Guards against a refusal for other reasons that Dagster takes for the same value."""
    digests = {Artifact().digest, refused_by("validation_mae").digest, refused_by("not_too_good").digest}
    assert len(digests) == 3
