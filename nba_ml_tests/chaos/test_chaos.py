"""Commands and a service under faults, and what holds after each round."""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nba_ml.registry.channel import CHAMPION, HISTORY, read_channel, read_history
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import require_model_intact
from nba_ml.registry.reader import read_bundle, reads_from
from nba_ml_tests.chaos.faults import FAULTS, service_flooded, service_killed
from nba_ml_tests.chaos.scene import Scene, set_up, until
from nba_ml_tests.chaos.service import Answers
from nba_ml_tests.registry.test_channel import states
from nba_ml_tests.small_disk import small_disk
from nba_ml_tests.trained_home import TrainedHomes

MINUTES = float(os.environ.get("NBA_ML_CHAOS_MINUTES", "0"))
"""How long it goes on; 0 for one round of each fault, however long these take."""

SEED = int(os.environ.get("NBA_ML_CHAOS_SEED", "1"))

WHY = ("--reason", "a reason of a sentence")
COMMAND_SECONDS = 300.0
HEALTH_SECONDS = 1.0
DISK_MB = 600


@pytest.fixture
def scene(gcs_endpoint: str, trained_homes: TrainedHomes, tmp_path: Path) -> Iterator[Scene]:
    disk = tmp_path / "disk"
    with small_disk(disk, DISK_MB) as mounted, set_up(gcs_endpoint, trained_homes.published, disk) as made:
        made.disk = disk if mounted else None
        yield made


def commands(scene: Scene, rng: random.Random) -> tuple[str, ...]:
    """One of what operators and schedules do."""
    state = read_channel(scene.owner)
    assert state is not None
    identity = rng.choice([each for each in scene.ids if each != state.champion.model_id])
    waived = ("--waive", "newer", "--waive", "not_set_aside", "--waive", "grade", "--waive", "bias")
    start = ("rollout", "start", identity, "--share", "10", "--waive", "comparison", "--graded-from", "2022-01-01")
    manifest = f"{scene.home.settings['NBA_ML_ARTIFACT_ROOT']}/{BundleNames.of(identity).manifest}"
    return rng.choice(
        (
            ("backfill", "--only-missing"),
            *[("champion", "promote", identity, *WHY, *waived)] * 3,
            ("champion", "promote", scene.forged, *WHY, *waived),
            ("champion", "rollback", *WHY),
            *[("rollout", "stop", *WHY), ("rollout", "advance")] * (state.challenger is not None),
            *[(*start, *WHY)] * 2 * (state.challenger is None),
            ("slate", "predict", "--date", "2022-01-15"),
            ("keys", "renew"),
            ("verify", manifest),
        )
    )


def run(scene: Scene, arguments: tuple[str, ...], kill_after: int | None = None, most_bytes: int | None = None) -> str:
    """Run the command, perhaps not to its end; what it printed. It never fails without words."""
    process = scene.start(*arguments, most_bytes=most_bytes)
    try:
        said, _ = process.communicate(timeout=COMMAND_SECONDS if kill_after is None else kill_after / 1_000)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        assert kill_after is not None, f"{arguments} did not end: {said[-2000:]}"
        return f"killed: {said}"
    assert process.returncode in (0, 1, 2), f"{arguments} ended with {process.returncode}: {said[-3000:]}"
    assert "Traceback" not in said, f"{arguments}: {said[-3000:]}"
    assert "Unexpected error" not in said, f"{arguments}: {said[-3000:]}"
    return f"{process.returncode}: {said}"


def require_channel(scene: Scene) -> None:
    """The pointer is to a whole, signed, approved bundle, and the history has no gap."""
    state = read_channel(scene.owner)
    assert state is not None
    states(scene.place)
    for model in filter(None, (state.champion, state.challenger)):
        require_model_intact(scene.owner, model)
        assert model.model_id in scene.ids, f"{model.model_id} was never signed"
        read_bundle(reads_from(scene.owner), model.manifest, model.manifest_sha256)


def require_nothing_lost(scene: Scene) -> None:
    """What was signed is there with the same bytes; the pointer only moves on."""
    names = set(scene.place.names())
    for name, data in scene.kept.items():
        assert name in names, f"{name} is gone"
        if name != CHAMPION and "signatures" not in name and "_signature_" not in name:
            assert scene.place.read(name) == data, f"{name} has changed"
    serial = len(read_history(scene.owner))
    earlier = sum(name.startswith(HISTORY) for name in scene.kept)
    assert serial >= earlier, f"the history went back from {earlier} to {serial}"
    scene.kept |= {name: scene.place.read(name) for name in names if scene.forged not in name}


def require_service(scene: Scene, heard: Answers, *, flooded: bool) -> None:
    """Every answer is that of a signed model, and nothing failed."""
    for answer in heard.predictions:
        for index, record in enumerate(answer):
            assert record["model_version"] in scene.expected, f"{record['model_id']} served"
            assert record["predicted_points"] == scene.expected[record["model_version"]][index], record
    failures = [each for each in heard.failures if not flooded or each.startswith("/health")]
    assert failures == [], failures


def test_what_holds_while_everything_goes_wrong(scene: Scene) -> None:
    """Guards all of it together: a fault each round, and then nothing is lost and nobody served what is not signed."""
    rng, ends = random.Random(SEED), time.monotonic() + 60 * MINUTES if MINUTES else math.inf
    order = itertools.chain.from_iterable(
        rng.sample(FAULTS, len(FAULTS)) for _ in (itertools.count() if MINUTES else range(1))
    )
    print(f"\nseed {SEED}, {MINUTES} minutes")
    rounds, answers, slow = 0, 0, []
    for number, fault in enumerate(order):
        if time.monotonic() > ends:
            break
        rounds += 1
        arguments = commands(scene, rng)
        with fault(scene, rng) as limits:
            said = run(scene, arguments, **limits)
        if fault is not service_killed:
            assert not scene.service.died(), f"the service ended in {fault.__name__}: {scene.service.log()[-2000:]}"
        # An interrupted move is completed by the next one; a signature that was lost with it is written again.
        require_channel(scene)
        require_nothing_lost(scene)
        heard = scene.service.heard()
        require_service(scene, heard, flooded=fault is service_flooded)
        answers += len(heard.predictions)
        worst, load = max(heard.health, default=0.0), os.getloadavg()[0]
        if worst > HEALTH_SECONDS * max(1.0, load):  # while three processes share a core, a second of work takes three
            slow.append(f"round {number}, {fault.__name__}: /health took {worst:.2f} s under a load of {load:.1f}")
        last = said.strip().splitlines()[-1][:100] if said.strip() else ""
        print(f"{number:3} {fault.__name__:22} {' '.join(arguments)[:60]:60} /health {worst:.2f} s  {last}", flush=True)
    healed = run(scene, ("backfill", "--only-missing"))
    assert healed.startswith("0:"), healed
    state = read_channel(scene.owner)
    assert state is not None
    champion = state.champion.model_id
    until(lambda: scene.service.health()["model"]["model_id"] == champion, 90, f"the service follows to {champion}")
    print(f"{rounds} rounds, {answers} answers to check, serial {state.serial}, {scene.service.starts} starts")
    assert answers > 0
    assert slow == []
