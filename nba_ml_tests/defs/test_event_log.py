"""What was materialised last, read from Dagster's event log."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from nba_ml.defs.assets.recording import INPUTS, digests_of, in_parts, latest_digests
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.internals import DATA_VERSION_TAG


def test_the_latest_materialisation_of_each_month_over_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards what is out of date: an older materialisation taken for the latest, or one on a page that is not read."""
    monkeypatch.setattr("nba_ml.defs.event_log._PAGE", 2)
    with dg.DagsterInstance.ephemeral() as instance:
        assert latest_materialisations(instance, "made") == {}
        made = [("2021-11", 1), ("2021-12", 2), ("2021-11", 3), ("2022-01", 4), ("2021-12", 5), (None, 6)]
        for month, number in made:
            event = dg.AssetMaterialization("made", partition=month, metadata={"number": number})
            instance.report_runless_asset_event(event)
        instance.report_runless_asset_event(dg.AssetMaterialization("other", partition="2022-02"))
        found = {
            month: record.asset_materialization.metadata["number"].value
            for month, record in latest_materialisations(instance, "made").items()
            if record.asset_materialization is not None
        }
    assert found == {"2021-11": 3, "2021-12": 5, "2022-01": 4}


def test_a_long_history_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a rerun that takes longer with each backfill before it."""
    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(10):
            instance.report_runless_asset_event(
                dg.AssetMaterialization("made", partition="2021-11", metadata={"number": number})
            )
        read: list[int] = []
        fetch = instance.fetch_materializations

        def counting(*args: Any, **named: Any) -> dg.EventRecordsResult:
            page = fetch(*args, **named)
            read.append(len(page.records))
            return page

        monkeypatch.setattr(instance, "fetch_materializations", counting)
        assert latest_materialisations(instance, "made").keys() == {"2021-11"}
    assert sum(read) == 1


@pytest.mark.parametrize("renamed", [False, True], ids=["as Dagster stores it", "in a form that is not known"])
def test_digests_read_from_the_stored_json_are_those_of_the_event(
    monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    """Guards what `--only-missing` compares. A release of Dagster that stores events otherwise costs time only."""
    inputs, value = "ab" * 32, "cd" * 32
    made: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
        "2021-11": ({DATA_VERSION_TAG: "an older one"}, {INPUTS: "an older one"}),
        "2021-12": ({DATA_VERSION_TAG: value}, {"rows": 3, INPUTS: in_parts(inputs, 32)}),
        "2022-01": ({DATA_VERSION_TAG: value}, {INPUTS: inputs}),  # in one piece, as it was once
        "2022-02": ({}, {}),  # reported in the UI
    }
    with dg.DagsterInstance.ephemeral() as instance:
        for month, (tags, metadata) in [*made.items(), ("2021-11", made["2021-12"])]:
            event = dg.AssetMaterialization("made", partition=month, tags=tags, metadata=metadata)
            instance.report_runless_asset_event(event)
        records = latest_materialisations(instance, "made")
        events = {month: record.asset_materialization for month, record in records.items()}
        if renamed:
            monkeypatch.setattr("nba_ml.defs.assets.recording._MADE", ("an", "unknown", "place"))
        found = latest_digests(instance, "made")
    assert found == {month: digests_of(event) for month, event in events.items() if event is not None}
    assert found == dict.fromkeys(("2021-11", "2021-12", "2022-01"), (value, inputs)) | {"2022-02": ("", "")}
