"""A home whose models are signed in a bucket, and a service that follows the channel through a proxy that breaks."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.model_id import model_id, month_of_model
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.registry.fresh_process import predict_in_fresh_process
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.publication import Bundle, list_published, publish, published
from nba_ml.registry.reader import read_bundle, reads_from, verify_bundle
from nba_ml.registry.signed_store import SignedStore
from nba_ml.registry.verdict import Verdict
from nba_ml.serving import Predictor
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.chaos.service import Service
from nba_ml_tests.cli.command import NBA_ML, Home
from nba_ml_tests.cloud.gcs import BucketView, emulator_client, make_bucket
from nba_ml_tests.faults.proxy import FaultProxy
from nba_ml_tests.processes import heed_signals
from nba_ml_tests.registry.places import Folder, contents
from nba_ml_tests.registry.signing import KeyRing, as_named, move_to
from nba_ml_tests.trained_home import copy_home

PREFIX = "models"

Row = Mapping[str, Any]


@dataclass
class Scene:
    """What the faults and the invariants work on.

    `owner` reads and writes past the proxy with both keys; `place` without any code of ours. `expected` is model id ->
    the points of the service's rows, as they were before anything went wrong. `ids` are the models by month. `disk` is
    the small file system of the home, with the service's log and memory; None where this process may not mount one.
    """

    home: Home
    place: BucketView
    unsigned: CloudStore
    owner: SignedStore
    proxy: FaultProxy
    service: Service
    ids: list[str]
    expected: dict[str, list[float | None]]
    forged: str
    disk: Path | None = None
    kept: dict[str, bytes] = field(default_factory=dict)
    """Every object of the bucket that was ever there and signed for, by name: nothing of it may be lost."""

    def start(self, *arguments: str, most_bytes: int | None = None) -> subprocess.Popen[str]:
        """Start the command. Beyond `most_bytes` in a file, a write fails, as it does on a full disk."""

        def limited() -> None:
            heed_signals()
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        # Python renames half of a compiled module into its place when the disk is full, and no later process can import
        # it. Packages are compiled when they are installed, but this checkout is not.
        compiles = {} if most_bytes is None else {"PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [NBA_ML, *arguments],
            env={**self.home.environment(), **compiles},
            cwd=self.home.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=limited,
        )


@contextmanager
def set_up(endpoint: str, trained: Home, folder: Path) -> Iterator[Scene]:
    """The trained home with its models in a bucket of the emulator, signed; the second is the champion.

    Files are in `folder` alone.
    """
    (folder / "tmp").mkdir()
    bucket = make_bucket(endpoint)
    place, ring = BucketView(endpoint, bucket, PREFIX), KeyRing.made_in(folder)
    home = copy_home(trained, folder / "home")
    for record in (home.root / "store/gcs_artifact").glob("*.json"):
        text = record.read_text()
        record.write_text(re.sub(r'file://[^"]*/artifacts/', f"gs://{bucket}/{PREFIX}/", text))
    for name, data in contents(Folder(home.root / "artifacts")).items():
        place.put(name, data)
    unsigned = CloudStore(bucket, PREFIX, emulator_client(endpoint))
    owner = ring.held_by(unsigned, "publisher", "promoter")
    ids = sorted(list_published(unsigned), key=lambda each: month_of_model(each) or "")
    for each in ids:
        name = BundleNames.of(each).manifest
        owner.sign(name, place.read(name))
    for each in ids[:2]:
        move_to(owner, as_named(unsigned, each))
    rows = _rows(owner, ids[0])
    with FaultProxy(endpoint).running() as proxy:
        settings = {
            "STORAGE_EMULATOR_HOST": proxy.endpoint,
            "NBA_ML_ARTIFACT_ROOT": f"gs://{bucket}/{PREFIX}",
            "NBA_ML_TRUSTED_KEYS": ring.trusted,
            "TMPDIR": str(folder / "tmp"),
        }
        keys = {f"NBA_ML_{role.upper()}_KEY": str(file) for role, file in ring.files.items()}
        worker = replace(home, settings=settings)
        with Service(worker, rows).running() as service:
            scene = Scene(
                home=replace(home, settings={**settings, **keys}),
                place=place,
                unsigned=unsigned,
                owner=owner,
                proxy=proxy,
                service=service,
                ids=ids,
                expected={each: _predicted(owner, each, rows) for each in ids},
                forged=_forge(unsigned, ids[-1]),
            )
            scene.kept = {name: place.read(name) for name in place.names() if scene.forged not in name}
            yield scene


def _rows(store: SignedStore, identity: str) -> list[Row]:
    """Real rows: those that the model's record refers to, with player and date, so that a rollout shares them out."""
    found = read_bundle(reads_from(store), BundleNames.of(identity).manifest)
    references = cast("list[dict[str, Any]]", found.record["reference_rows"])
    return [
        dict(zip(V2_33FEATURES.names, row, strict=True))
        | {"player_lookup": each["player_lookup"], "game_date": each["game_date"]}
        for row, each in zip(found.rows, references, strict=True)
    ]


def _predicted(store: SignedStore, identity: str, rows: list[Row]) -> list[float | None]:
    return [each.predicted_points for each in Predictor.load(store, model_id=identity, try_apart=False).predict(rows)]


def _forge(unsigned: CloudStore, identity: str) -> str:
    """Publish a changed model without a key, with every digest and prediction right; without signatures it serves."""
    read = reads_from(unsigned)
    real = read_bundle(read, BundleNames.of(identity).manifest)
    content = json.loads(real.booster)
    tree = content["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["split_conditions"] = [
        value + 5.0 if left == -1 else value
        for value, left in zip(tree["split_conditions"], tree["left_children"], strict=True)
    ]
    booster = json.dumps(content).encode()
    record, month = real.record, month_of_model(identity)
    assert month is not None
    forged = model_id(XGBOOST_V1, month, booster)
    predicted = predict_in_fresh_process(booster, real.rows, real.features)
    references = [
        {**each, "prediction": points} for each, points in zip(record["reference_rows"], predicted, strict=True)
    ]
    record = {**record, "model_id": forged, "model_sha256": bytes_digest(booster), "reference_rows": references}
    manifest = published(unsigned, identity)
    assert manifest is not None
    stated = manifest.verdict.model_dump() | {"model_sha256": bytes_digest(booster)}
    publish(unsigned, Bundle(forged, booster, json.dumps(record).encode(), Verdict.model_validate(stated)))
    verify_bundle(read, BundleNames.of(forged).manifest)
    return forged


def until(condition: Any, seconds: float, what: str) -> None:
    """Wait for it, or fail."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)
