"""Refused months in Dagster's event log: replaced by a later model, listed in one place. Nothing is trained."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from nba_ml.checks.gcs_artifact import PUBLISHED
from nba_ml.checks.registry import all_checks
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.check_results import CheckLog
from nba_ml.defs.internals import AssetCheckEvaluationTargetMaterializationData
from nba_ml.defs.refusals import PUBLISHER, refusal_metadata, refused_months, refused_table, report_superseded
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.registry.artifact import ARTIFACT, Artifact
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.refusal import Refusal, RefusedCheck

[CHECK] = [check for check in all_checks() if (check.asset, check.name) == (PUBLISHER, PUBLISHED)]
EARLY, REFUSED, NEWEST = "2022-01", "2022-03", "2022-04"
"""Before the first published model, which is of 2022-02; refused after it; published next."""


class Scene:
    """An event log, a store and an artifact root, in which months were published and refused by hand."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.store, self.artifacts = Store(str(root / "store")), ArtifactRoot(str(root / "artifacts"))
        self.runs = 0

    def publish(self, month: str) -> None:
        names = BundleNames.of(f"xgboost_v1_33features_{month.replace('-', '')}_0123456789ab")
        self.artifacts.objects().write(names.manifest, b"{}")

    def refuse(self, month: str, *names: str) -> None:
        """The month's materialisation without a model, and the check that reports it."""
        checks = tuple(
            RefusedCheck(asset="xgboost_model", check=each, month=month, value="-0.120 points", required="above 0")
            for each in names
        )
        refusal = Refusal(month=month, model_id=f"model_of_{month}", checks=checks)
        self.store.months().save(ARTIFACT, month, Artifact(refused=refusal))
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(PUBLISHER, partition=month, metadata=refusal_metadata(refusal))
        )
        [record] = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(PUBLISHER), asset_partitions=[month]), limit=1
        ).records
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(PUBLISHER),
            check_name=PUBLISHED,
            passed=False,
            metadata={"threshold": CHECK.threshold},
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            ),
            partition=month,
        )
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
        self.instance.report_dagster_event(
            dg.DagsterEvent(kind, job_name="by_hand", event_specific_data=evaluation), run_id=self.run().run_id
        )

    def run(self) -> dg.DagsterRun:
        """A run of its own."""
        self.runs += 1
        return dg.DagsterRun(job_name="by_hand", run_id=f"run {self.runs}")

    def supersede(self) -> None:
        report_superseded(self.run(), self.instance, NEWEST, Thresholds(), self.store, self.artifacts)

    def last(self, month: str) -> tuple[bool, str, str]:
        found = CheckLog(self.instance).judged([CHECK], [month])[CHECK.key, month].evaluation
        return found.passed, found.severity.value, str(found.description)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path, dg.DagsterInstance.ephemeral())
    made.publish("2022-02")
    made.refuse(EARLY, "beats_mock")
    made.refuse(REFUSED, "results_above_prediction")
    return made


def test_a_later_model_turns_the_refusal_into_a_warning(scene: Scene) -> None:
    """Guards against red months that nobody will ever run again, under which a new one is not noticed."""
    scene.supersede()
    assert scene.last(REFUSED)[:2] == (False, "ERROR"), "the newest model is not published yet"
    scene.publish(NEWEST)
    scene.supersede()
    passed, severity, said = scene.last(REFUSED)
    assert (passed, severity) == (False, "WARN")
    assert said.startswith("warned: Publication: refused by results_above_prediction, ")
    assert "A later model, of 2022-04, is published." in said
    assert scene.last(EARLY)[0], "an early month has no model yet"


def test_a_refusal_can_be_superseded_again(scene: Scene) -> None:
    """Guards against a second result of a month and check that Dagster refuses, in the middle of a publication."""
    scene.publish(NEWEST)
    for _ in range(2):
        scene.refuse(REFUSED, "results_above_prediction")
        scene.supersede()
        scene.supersede()  # nothing is left to report
        assert scene.last(REFUSED)[1] == "WARN"


def test_refused_months_are_listed_with_their_reasons(scene: Scene) -> None:
    """Guards against reasons that are only in the runs of months that nobody opens."""
    found = refused_months(scene.instance)
    assert {month: why for month, (_, why) in found.items()} == {
        EARLY: "Not published: model_of_2022-01 did not pass beats_mock.",
        REFUSED: "Not published: model_of_2022-03 did not pass results_above_prediction.",
    }
    table = refused_table(found)["refused_months"]
    assert [record.data["month"] for record in table.records] == [EARLY, REFUSED]
    assert refused_table({}) == {}
    scene.instance.report_runless_asset_event(dg.AssetMaterialization(PUBLISHER, partition=REFUSED))
    assert list(refused_months(scene.instance)) == [EARLY], "it is published now"
