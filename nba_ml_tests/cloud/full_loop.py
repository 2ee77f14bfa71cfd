"""The full loop on this machine, from rows in BigQuery to a rolled out challenger and back: with the user's commands.

    python -m nba_ml_tests.cloud.full_loop

Both clouds are emulators on 127.0.0.1. BigQuery holds the platform's tables with the shipped months 2021-10 to
2022-02. Of March the features of a date come before it is predicted or played, and its results afterwards: a date with
features whose results are overdue would count as missing. Then, in this order:

 1. backfill the snapshots from BigQuery; train, check and publish the model of February to gs://; check it again
    as CI would, verify it from its address; promote it; serve it.
 2. predict March 1st, over HTTP and as the coordinator does (`nba-ml slate predict --to-bigquery`): bit for bit equal.
 3. register a CatBoost as the platform's own model and roll it out: 10, 50, 100 percent, each step on results of its
    own ten days, which arrive in BigQuery only then; each is snapshotted and graded. A slate is predicted at each
    share, and every record is of the side that the hash gives.
 4. the CatBoost is the champion. Roll back, in one command.
 5. the mock beside the champion, at 10 percent and marked as the mock; and away with it.

All the while a client asks the service. Nothing it was answered may be an error, and it must have seen every swap.

The exit code is 0 if all of that was seen, 1 with a sentence if not, 3 where something to run it with is missing.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.contract.season import season_months
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.tables import PREDICTIONS
from nba_ml.registry.channel import read_channel
from nba_ml.registry.publication import list_published
from nba_ml.registry.rollout_rules import bucket_of
from nba_ml.slates.prediction_rows import create_table
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.cloud.bigquery import ENVIRONMENT, NOT_THERE, PROJECT, Platform, make_platform, running_emulator
from nba_ml_tests.cloud.gcs import NOT_INSTALLED, emulator_client, emulator_program, make_bucket, running_server
from nba_ml_tests.cloud.loop_tools import Crowd, NotSeenError, Row, Service, Terminal, must, say, serving
from nba_ml_tests.conftest import features_of, snapshot_of, summary_of
from nba_ml_tests.limits import written
from nba_ml_tests.processes import end_with_what_was_started

FIRST, TRAINED, NEXT = "2021-10", "2022-02", "2022-03"
"""The model of `TRAINED` keeps the shipped limits; earlier ones do not yet."""

LIMITS = Thresholds(min_rows_per_step=1_200, rollout_margin=0.1, external_margin=0.2, min_coverage=0.2)
"""The shipped limits, but for coverage, because the days of March that are still to come in the loop are past by the
clock and so count as missing; and for a rollout's steps: how many rows each needs, and a margin that ten days of one
March can tell two models apart by. A CatBoost of three months is not held to the season average as closely as one of a
season."""

STEPS = (("2022-03-10", 50), ("2022-03-20", 100), ("2022-03-31", 0))
"""The last day of results that a step is judged on, and the share after it; 0 is the challenger as the champion."""

SLATES = {0: "2022-03-01", 10: "2022-03-04", 50: "2022-03-14", 100: "2022-03-25"}
"""The date that is predicted at each share."""

FITTED_UNTIL, GIVEN_UNTIL = date(2022, 1, 20), date(2022, 1, 31)
"""How far the challenger's training looked. The rest of January was held out and teaches its interval; February is its
backtest."""

WHY = ("--reason", "the full loop of the tests")
MISSING = 3
"""Exit code: something to run it with is missing."""


@dataclass(frozen=True)
class Clouds:
    """The platform's tables and bucket, and the settings that a user would export."""

    platform: Platform
    objects: CloudStore
    settings: Mapping[str, str]
    table: str
    with_features: set[date] = field(default_factory=set)

    def features(self, first: str, last: str) -> None:
        """The features of these days are computed, where they are not there yet."""
        rows = features_of(NEXT)
        there = pc.and_(
            _within(rows, first, last), pc.invert(pc.is_in(rows.column("game_date"), _days(self.with_features)))
        )
        self.platform.load(rows.filter(there))
        self.with_features.update(rows.filter(there).column("game_date").to_pylist())

    def results(self, first: str, last: str) -> None:
        """Results of the games of these days arrive, and whatever features of them were still to come."""
        self.features(first, last)
        rows = summary_of(NEXT)
        there = _within(rows, first, last)
        self.platform.load(summary=rows.filter(there))
        say(f"\n# Results of {first} to {last} arrive in BigQuery: {pc.sum(there).as_py():,} player-games.")

    def rows(self, day: str) -> list[dict[str, Any]]:
        """The feature rows of a date as a worker reads them: one mapping of names to values for each player."""
        found = self.platform.emulator.client.query_and_wait(
            "SELECT player_lookup, CAST(game_date AS STRING) AS game_date, game_id, feature_names, features "
            f"FROM {self.platform.features} WHERE game_date = '{day}' ORDER BY player_lookup"
        )
        return [
            {
                **{name: row[name] for name in ("player_lookup", "game_date", "game_id")},
                **{
                    name: None if np.isnan(value) else value
                    for name, value in zip(row["feature_names"], row["features"], strict=True)
                },
            }
            for row in found
        ]


def _within(rows: pa.Table, first: str, last: str) -> pa.ChunkedArray:
    first_day, last_day = (pa.scalar(date.fromisoformat(text)) for text in (first, last))
    days = rows.column("game_date")
    return pc.and_(pc.greater_equal(days, first_day), pc.less_equal(days, last_day))


def _days(days: set[date]) -> pa.Array:
    return pa.array(sorted(days), pa.date32())


def what_is_missing() -> str | None:
    """What the loop cannot run without on this machine, in a sentence; None if all is there."""
    if not (ENVIRONMENT / ".ready").exists():
        return NOT_THERE
    if emulator_program() is None:
        return NOT_INSTALLED
    if find_spec("catboost") is None:
        return "the challenger is a CatBoost, and CatBoost is not installed: `make challengers`"
    return None


@contextmanager
def clouds(folder: Path) -> Iterator[Clouds]:
    """Both emulators, with features and results up to the month that is trained on."""
    with running_emulator(folder) as bigquery, running_server() as storage:
        platform = make_platform(bigquery)
        for month in season_months(FIRST, TRAINED):
            platform.load(features_of(month), summary_of(month))
        table = f"{platform.dataset}.player_prop_predictions"
        bigquery.client.query_and_wait(create_table(f"`{PROJECT}.{table}`"))
        bucket = make_bucket(storage)
        settings = {
            **platform.environment,
            "NBA_ML_PREDICTION_TABLE": table,
            "STORAGE_EMULATOR_HOST": storage,
            "NBA_ML_STORE": f"gs://{bucket}/store",
            "NBA_ML_ARTIFACT_ROOT": f"gs://{bucket}/models",
            "NBA_ML_HOME": str(folder / "home"),
            "NBA_ML_THRESHOLDS": str(written(LIMITS)),
            "NBA_ML_THREADS": "1",
        }
        there = Clouds(platform, CloudStore(bucket, "models", emulator_client(storage)), settings, table)
        there.features(SLATES[0], SLATES[0])
        yield there


def publish_and_promote(there: Clouds, terminal: Terminal) -> str:
    """From rows in BigQuery to a champion under gs://; its id."""
    terminal.run(
        *("backfill", "--from", FIRST, "--to", TRAINED, "--assets", "feature_store_snapshot"),
        because="Snapshots of the months that the feature backfill has done.",
    )
    terminal.run(
        *("backfill", "--from", TRAINED, "--to", TRAINED, "--only-missing"),
        because=f"Train, check and publish the model of {TRAINED}.",
    )
    ids = list_published(there.objects)
    must(len(ids) == 1, f"one model should be published, and {len(ids)} are: {ids}")
    manifest = f"{there.settings['NBA_ML_ARTIFACT_ROOT']}/xgboost_v1/{ids[0]}_manifest.json"
    terminal.run("check", "--month", TRAINED, because="The checks, as CI runs them.")
    said = terminal.run("verify", manifest, because="The bundle from its address, in a fresh process.")
    must(f"{ids[0]}: verified." in said, f"`nba-ml verify` did not verify {ids[0]}")
    terminal.run("champion", "promote", because="Nobody serves yet: the latest published model becomes the champion.")
    must(_serving(there) == (1, ids[0], 0), f"{ids[0]} should be the champion, and the channel says {_serving(there)}")
    return ids[0]


def _serving(there: Clouds) -> tuple[int, str, int]:
    """Serial, champion and share of the channel."""
    state = read_channel(there.objects)
    return (0, "", 0) if state is None else (state.serial, state.champion.model_id, state.share)


def predict_a_slate(there: Clouds, terminal: Terminal, service: Service, share: int) -> dict[str, int]:
    """A date over HTTP and by the coordinator's command: equal in every value. Records by system."""
    day = SLATES[share]
    there.features(day, day)
    rows = there.rows(day)
    over_http = [
        record | dict(zip(QUANTILE_COLUMNS, record.pop("points_quantiles") or [None] * 19, strict=True))
        for record in service.predict(rows)
    ]
    file = terminal.folder / f"{day}.parquet"
    terminal.run(
        *("slate", "predict", "--date", day, "--to-bigquery", "--out", file.name),
        because=f"The slate of {day} with the challenger at {share}%: kept, and into BigQuery's table.",
    )
    kept = pq.read_table(file)
    served = kept.filter(pc.equal(kept.column("role"), "served")).sort_by("player_lookup").select(PREDICTIONS.names)
    by_command = [
        {
            name: value.isoformat() if isinstance(value, date) else None if value != value else value
            for name, value in row.items()
        }
        for row in served.to_pylist()
    ]
    must(len(rows) == len(by_command) == len(over_http), f"{len(rows)} rows, {len(over_http)} by HTTP, "
         f"{len(by_command)} by the command: one of the two left players out")  # fmt: skip
    differing = [a["player_lookup"] for a, b in zip(over_http, by_command, strict=True) if a != b]
    must(not differing, f"service and command differ for {len(differing)} of {len(rows)} players: {differing[:5]}")
    systems: dict[str, int] = {}
    for record in over_http:
        bucket = bucket_of(record["player_lookup"], date.fromisoformat(record["game_date"]))
        expected = "catboost_v8" if bucket < share else "xgboost_v1"
        must(record["system_id"] == expected, f"{record['player_lookup']} on {day} is of bucket {bucket} and was "
             f"served by {record['system_id']} with the challenger at {share}%")  # fmt: skip
        systems[expected] = systems.get(expected, 0) + 1
    (counted,) = there.platform.emulator.client.query_and_wait(
        f"SELECT COUNTIF(is_active) AS active, COUNT(*) AS every FROM {there.table} WHERE game_date = '{day}'"
    )
    must(counted["active"] == len(rows), f"{len(rows)} served rows of {day} should be active in {there.table}, and "
         f"{counted['active']} are")  # fmt: skip
    say(
        f"  {len(rows)} players: service and command equal, bit for bit; served by {systems}; in BigQuery "
        f"{counted['active']} active of {counted['every']} rows"
    )
    return systems


def register_a_catboost(terminal: Terminal) -> str:
    """The platform's own model, trained elsewhere on the same features: its file, registered; its id."""
    from catboost import CatBoostRegressor, Pool

    started = time.monotonic()
    rows = pa.concat_tables([snapshot_of(month).table for month in season_months(FIRST, TRAINED)])
    rows = rows.filter(pc.less_equal(rows.column("game_date"), pa.scalar(FITTED_UNTIL)))
    vectors = np.column_stack([rows.column(name).to_numpy() for name in V2_33FEATURES.names]).astype(np.float32)
    model = CatBoostRegressor(
        loss_function="MAE", iterations=400, learning_rate=0.05, depth=6, random_seed=42, thread_count=1,
        allow_writing_files=False, verbose=False,
    )  # fmt: skip
    model.fit(Pool(vectors, rows.column("points").to_numpy(), feature_names=list(V2_33FEATURES.names)))
    model.save_model(str(terminal.folder / "v8.cbm"), format="cbm")
    say(f"\n# A CatBoost of {rows.num_rows:,} rows, trained elsewhere, in {time.monotonic() - started:.1f} s: v8.cbm")
    said = terminal.run(
        *(
            "rollout",
            "register",
            "v8.cbm",
            "--target",
            "points",
            "--given-until",
            str(GIVEN_UNTIL),
            "--fitted-until",
            str(FITTED_UNTIL),
        ),
        because="Put it beside ours.",
    )
    found = re.search(r"catboost_v8_33features_[0-9]{6}_[0-9a-f]{12}", said)
    must(found is not None, "`nba-ml rollout register` names no model")
    return found.group() if found else ""


def roll_out(there: Clouds, terminal: Terminal, crowd: Crowd, champion: str, challenger: str) -> None:
    """10, 50, 100 percent, and the challenger as the champion: each step on results that were not there before."""
    terminal.run(
        *(
            "rollout",
            "start",
            challenger,
            "--share",
            "10",
            "--waive",
            "comparison",
            "--graded-from",
            "2022-03-01",
            *WHY,
        ),
        because="A tenth of the player-games.",
    )
    crowd.follows(2)
    served = predict_a_slate(there, terminal, crowd.service, 10)
    must(len(served) == 2, f"at 10% both should have served, and only {served} did")
    terminal.run("rollout", "advance", code=1, because="Without results nothing moves.")
    first, share = "2022-03-01", 10
    for last, after in STEPS:
        there.results(first, last)
        terminal.run(
            *("backfill", "--from", NEXT, "--to", NEXT),
            *("--assets", "feature_store_snapshot,predictions,prediction_grades"),
            because="Snapshot the running month as far as it is, and grade February's model on it.",
        )
        terminal.run("slate", "grade", "--month", NEXT, because="Grade what was served, and what was in shadow.")
        terminal.run("rollout", "advance", because=f"The step after {share}%, on the games of {first} to {last}.")
        serial, serving_now, found = _serving(there)
        expected = challenger if after == 0 else champion
        must((serving_now, found) == (expected, after), f"after the step from {share}% {expected} should be the "
             f"champion beside a share of {after}, and the channel says {serving_now} and {found}")  # fmt: skip
        crowd.follows(serial)
        if after:
            predict_a_slate(there, terminal, crowd.service, after)
        first, share = str(date.fromordinal(date.fromisoformat(last).toordinal() + 1)), after


def roll_back(there: Clouds, terminal: Terminal, crowd: Crowd, champion: str, rows: Sequence[Row]) -> float:
    """One command, and the service follows; how long the command took, with the start of Python."""
    terminal.run("champion", "rollback", *WHY, because="Back, in one command.")
    serial, found, _ = _serving(there)
    must(found == champion, f"{champion} should serve again, and the channel says {found}")
    health = crowd.follows(serial)
    must(
        health["model"]["model_id"] == champion, f"the service serves {health['model']['model_id']} after the rollback"
    )
    systems = {record["system_id"] for record in crowd.service.predict(rows)}
    must(systems == {"xgboost_v1"}, f"after the rollback {systems} serve")
    terminal.run("champion", "history", because="What the channel has been.")
    return terminal.seconds["champion rollback"]


def put_the_mock_beside_it(there: Clouds, terminal: Terminal, crowd: Crowd, rows: Sequence[Row]) -> None:
    """The A/B against the mock: a rollout like any other, its records marked, and ended."""
    terminal.run("rollout", "start", "mock", "--share", "10", *WHY, because="The mock on a tenth, to compare with.")
    crowd.follows(_serving(there)[0])
    records = crowd.service.predict(rows)
    for record in records:
        bucket = bucket_of(record["player_lookup"], date.fromisoformat(record["game_date"]))
        expected = "mock" if bucket < 10 else "xgboost"
        must(record["model_type"] == expected, f"{record['player_lookup']} is of bucket {bucket}, and his record is "
             f"marked {record['model_type']}")  # fmt: skip
    marked = sum(record["model_type"] == "mock" for record in records)
    say(f"  {marked} of {len(records)} players by the mock, each marked")
    must(marked > 0, "no player was served by the mock")
    terminal.run("rollout", "stop", "--forget", *WHY, because="And away with it.")
    crowd.follows(_serving(there)[0])


def loop(folder: Path) -> str:
    """The whole of it; a line that says what was seen.

    Raises:
        NotSeenError: something was not as it must be.
    """
    started = time.monotonic()
    with clouds(folder) as there:
        say("Settings:\n" + "\n".join(f"  {name}={value}" for name, value in there.settings.items()))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NBA_ML_", "DAGSTER_"))}
        terminal = Terminal({**inherited, **there.settings}, folder)
        champion = publish_and_promote(there, terminal)
        options = ("--port", "0", "--refresh-seconds", "0.2")
        with serving(terminal, *options) as service:
            slate = there.rows(SLATES[0])
            must(len(slate) > 0, f"BigQuery has no rows of {SLATES[0]}")
            with Crowd(service, slate) as crowd:
                predict_a_slate(there, terminal, service, 0)
                challenger = register_a_catboost(terminal)
                roll_out(there, terminal, crowd, champion, challenger)
                took = roll_back(there, terminal, crowd, champion, slate)
                put_the_mock_beside_it(there, terminal, crowd, slate)
            must(
                not crowd.wrong, f"of {crowd.requests} requests {len(crowd.wrong)} failed, the first: {crowd.wrong[:1]}"
            )
        digests = {sha256[:12] for sha256 in crowd.served}
        expected = {champion[-12:], challenger[-12:], ""}  # a rule has no digest
        must(digests == expected, f"the client was served by {digests}, and {expected} were the models")
        return (
            f"Seen in {time.monotonic() - started:.0f} s: {champion} from BigQuery to gs://, served and graded; "
            f"{challenger} at 10, 50 and 100% and as the champion; rolled back in {took:.1f} s with the start of "
            f"Python; the mock beside it; a client asked {crowd.requests:,} slates of {len(slate)} players all the "
            f"while, 0 failed, the slowest in {1000 * crowd.slowest:.0f} ms, {len(crowd.served)} models seen."
        )


def main() -> int:
    """0 if everything was seen, 1 with a sentence if not, 3 where something is missing."""
    missing = what_is_missing()
    if missing is not None:
        say(f"The full loop cannot run here: {missing}.")
        return MISSING
    with tempfile.TemporaryDirectory(prefix="nba_ml_loop_") as folder:
        try:
            said = loop(Path(folder))
        except NotSeenError as error:
            say(f"\nNot seen: {error}")
            return 1
    say(f"\n{said}")
    return 0


if __name__ == "__main__":
    end_with_what_was_started()
    sys.exit(main())
