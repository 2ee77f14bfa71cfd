"""The faults: each is there while a command runs, and is undone or repaired as an operator would afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from nba_ml.registry.channel import CHAMPION, HISTORY, Channel, history_name, read_channel, read_history
from nba_ml_tests.benchmarks import floods
from nba_ml_tests.chaos.scene import Scene
from nba_ml_tests.faults.proxy import Call, Fault, Kind
from nba_ml_tests.registry.publication_machine import digest
from nba_ml_tests.registry.signing import as_named, serving
from nba_ml_tests.small_disk import filled

Apply = Callable[[Scene, random.Random], AbstractContextManager[dict[str, int]]]
"""What is wrong while the block runs. It gives what the command is started with: `kill_after` milliseconds, or
`most_bytes` of its files."""

FLOODS = ("slow heads", "slow bodies", "large answers, never read", "good slates, read", "opened and closed")


@contextmanager
def nothing(_: Scene, __: random.Random) -> Iterator[dict[str, int]]:
    yield {}


@contextmanager
def command_killed(_: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    yield {"kill_after": rng.randrange(200, 8_000)}


@contextmanager
def service_killed(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    time.sleep(rng.random())
    scene.service.kill()
    yield {}
    scene.service.ensure()


@contextmanager
def disk_full(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """A full disk, under the service too. Where no disk can be mounted, no file of the command's gets larger."""
    free = rng.choice((0, 20_000, 200_000, 1_000_000))
    if scene.disk is None:
        yield {"most_bytes": free}
        return
    with filled(scene.disk, free):
        yield {}


@contextmanager
def network_cut(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """No call reaches the bucket, for some seconds: the calls are repeated, or the command gives up with words."""
    ends = time.monotonic() + rng.uniform(2, 20)

    def plan(_: Call) -> Fault | None:
        return Fault("reset", "before") if time.monotonic() < ends else None

    with scene.proxy.disturbing(plan, lambda: None):
        yield {}


@contextmanager
def network_unreliable(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """Of every call, one in four fails, before or after the server has acted."""
    kinds: tuple[Kind, ...] = ("503", "reset", "cut")

    def plan(_: Call) -> Fault | None:
        return Fault(rng.choice(kinds), rng.choice(("before", "after"))) if rng.random() < 0.25 else None

    with scene.proxy.disturbing(plan, lambda: None):
        yield {}


@contextmanager
def network_silent(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """The first calls get no answer at all."""
    most = rng.randrange(1, 4)
    with scene.proxy.disturbing(lambda call: Fault("silence", "before") if call.number < most else None, lambda: None):
        yield {}


@contextmanager
def file_damaged(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """A bit of a stored value is flipped. `repair` in the test finds it by its digest and materialises it again."""
    files = sorted(each for each in (scene.home.root / "store").rglob("*") if each.is_file() and each.stat().st_size)
    file = rng.choice(files)
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    whole = file.read_bytes()
    file.write_bytes(data)
    yield {}
    if file.exists() and file.read_bytes() == data:
        file.write_bytes(whole)  # nothing needed it, so nothing has made it again


@contextmanager
def service_flooded(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    name = rng.choice(FLOODS)
    print(f"    {name}:", flush=True)
    command = [sys.executable, floods.__file__, "--flood", name, "--port", str(scene.service.port), "--seconds", "20"]
    flooder = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert flooder.stdin is not None
    flooder.stdin.write(scene.service.row)
    flooder.stdin.close()
    try:
        yield {}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(flooder.pid, signal.SIGKILL)
        flooder.wait()


# -- whoever writes to the bucket and has no key -------------------------------------------------------


@contextmanager
def pointer_forged(scene: Scene, _: random.Random) -> Iterator[dict[str, int]]:
    """The pointer names the forged model, with every digest right."""
    present = read_channel(scene.owner)
    with replaced(scene, CHAMPION, serving(as_named(scene.unsigned, scene.forged), present).to_bytes()):
        yield {}


@contextmanager
def history_forged(scene: Scene, _: random.Random) -> Iterator[dict[str, int]]:
    """The next state of the history is there already, and names the forged model."""
    newest = read_history(scene.owner)[-1]
    state = serving(as_named(scene.unsigned, scene.forged), newest)
    with replaced(scene, history_name(state.serial), state.to_bytes()):
        yield {}


@contextmanager
def old_state_replayed(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """The pointer is an earlier state, whose signature is still valid."""
    states = [name for name in scene.place.names() if name.startswith(HISTORY)]
    with replaced(scene, CHAMPION, scene.place.read(rng.choice(states))):
        yield {}


@contextmanager
def signature_of_another(scene: Scene, _: random.Random) -> Iterator[dict[str, int]]:
    """The forged pointer has the signature of the real one beside it, under the name that a reader looks for."""
    present = scene.place.read(CHAMPION)
    forged = serving(as_named(scene.unsigned, scene.forged), Channel.from_bytes(present, CHAMPION)).to_bytes()
    folder = CHAMPION.rpartition("/")[0]
    signature = scene.place.read(f"{folder}/signatures/{digest(present)}.json")
    with (
        replaced(scene, f"{folder}/signatures/{digest(forged)}.json", signature),
        replaced(scene, CHAMPION, forged),
    ):
        yield {}


@contextmanager
def object_damaged(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """A bit of an object of a bundle, or of a signature, is flipped."""
    name = rng.choice([each for each in scene.kept if not each.startswith(HISTORY) and each != CHAMPION])
    data = bytearray(scene.place.read(name))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    with replaced(scene, name, bytes(data)):
        yield {}


@contextmanager
def manifest_forged(scene: Scene, rng: random.Random) -> Iterator[dict[str, int]]:
    """A published model's manifest accepts a failed check, with its own digest right."""
    name = rng.choice([each for each in scene.kept if each.endswith("_manifest.json")])
    content = json.loads(scene.place.read(name))
    content.pop("manifest_sha256")
    content["verdict"]["thresholds"] = {"min_gain": -99.0}
    canonical = (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()
    stated = {**content, "manifest_sha256": digest(canonical)}
    with replaced(scene, name, (json.dumps(stated, sort_keys=True, indent=2) + "\n").encode()):
        yield {}


@contextmanager
def replaced(scene: Scene, name: str, data: bytes) -> Iterator[None]:
    """The object has these bytes; afterwards those of before, unless somebody with a key has replaced it meanwhile."""
    before = scene.place.read(name) if name in scene.place.names() else None
    scene.place.put(name, data)
    yield
    if name not in scene.place.names() or scene.place.read(name) != data:
        return
    if before is None:
        scene.place.remove(name)
    else:
        scene.place.put(name, before)


FAULTS: tuple[Apply, ...] = (
    nothing,
    command_killed,
    service_killed,
    disk_full,
    network_cut,
    network_unreliable,
    network_silent,
    file_damaged,
    service_flooded,
    pointer_forged,
    history_forged,
    old_state_replayed,
    signature_of_another,
    object_damaged,
    manifest_forged,
)
