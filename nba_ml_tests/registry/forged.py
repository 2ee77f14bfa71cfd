"""Forged boosters: one field or byte of a real one changed, by a seed. None may crash, hang or starve who loads it.

`python -m nba_ml_tests.registry.forged 10000` loads that many and predicts with those that are accepted, in processes
of their own, and prints how each kind ended. It exits with 1 if a process died.
"""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import xgboost as xgb

from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry.reference import load_booster

BATCH = 500
SECONDS = 300.0
"""For a batch, which takes a few: a hang is a process that has to be killed."""

_NUMBERS = (
    -1, 0, 1, 2, 7, 33, 34, 255, -128, 2**15, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63 - 1, 2**63, 2**80, 1e39, -1e39,
    1e400, 0.5, float("nan"),
)  # fmt: skip
_OTHERS: tuple[Any, ...] = (None, True, "", "x", "2147483647", "-1", "1e999", [], {}, [[1]], "[1E0,2E0]")


def small_booster(form: str = "json") -> bytes:
    """A real booster: 12 trees of up to 4 levels on the contract's features, with missing values."""
    source = np.random.default_rng(3)
    rows = source.random((400, V2_33FEATURES.count), dtype=np.float32) * 40
    rows[source.random(rows.shape) < 0.1] = np.nan
    target = np.nan_to_num(rows[:, 0]) * 0.7 + source.normal(0, 3, 400)
    matrix = xgb.DMatrix(rows, label=target, feature_names=list(V2_33FEATURES.names))
    trained = xgb.train({"objective": "reg:absoluteerror", "max_depth": 4, "nthread": 1, "seed": 42}, matrix, 12)
    return bytes(trained.save_raw(form))


def probes() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows (300, 33) that reach most leaves: ordinary values, missing values and extremes."""
    source = np.random.default_rng(4)
    rows = (source.random((300, V2_33FEATURES.count)) * 80 - 20).astype(np.float32)
    rows[source.random(rows.shape) < 0.2] = np.nan
    rows[source.random(rows.shape) < 0.1] = np.float32(3e38)
    rows[source.random(rows.shape) < 0.1] = np.float32(-3e38)
    return rows


def forge(booster: bytes, ubj: bytes, seed: int) -> tuple[str, bytes]:
    """The kind of a change, and a booster with it."""
    source = random.Random(seed)
    kind = source.choice(("value", "value", "index", "index", "index", "shape", "name", "text", "ubj"))
    if kind in ("text", "ubj"):
        data = bytearray(booster if kind == "text" else ubj)
        for _ in range(source.choice((1, 1, 1, 4))):
            data[source.randrange(1, len(data))] = source.choice((source.randrange(256), ord("9"), 0, 255))
        return kind, bytes(data)
    content = json.loads(booster)
    if kind == "index":
        tree = source.choice(content["learner"]["gradient_booster"]["model"]["trees"])
        field = source.choice(("left_children", "right_children", "split_indices", "parents"))
        tree[field][source.randrange(len(tree[field]))] = source.choice((*_NUMBERS, *range(len(tree["parents"]))))
        return kind, _dumped(content)
    holder, key = source.choice(_places(content))
    if kind == "value":
        holder[key] = source.choice((*_NUMBERS, *_OTHERS, *(map(str, _NUMBERS))))
    elif kind == "name" and isinstance(holder, dict):
        holder[source.choice((str(key).upper(), "x", f"{key}_"))] = holder.pop(key)
    elif source.random() < 0.5:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(source.choice(holder)))
    else:
        holder[key] = [holder[key]] * 3
    return kind, _dumped(content)


def _dumped(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every value's container and key, those of lists of numbers only for three of their numbers."""
    found: list[tuple[Any, Any]] = []
    pending = [content]
    while pending:
        holder = pending.pop()
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))[:3]
        found += [(holder, key) for key in keys]
        pending += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    return found


def ends(seeds: range) -> Iterator[tuple[str, str]]:
    """How each forged booster ends when it is loaded and asked in this process: refused, or asked."""
    booster, ubj, rows = small_booster(), small_booster("ubj"), probes()
    for seed in seeds:
        kind, data = forge(booster, ubj, seed)
        try:
            load_booster(data, V2_33FEATURES, 1).inplace_predict(rows, missing=np.nan)
        except BundleError as error:
            yield kind, "refused by XGBoost" if "libxgboost" in str(error) or ".cc:" in str(error) else "refused"
        else:
            yield kind, "asked"


def run(seeds: range) -> Counter[tuple[str, str]]:
    """`ends` in a new process, counted. A process that dies or hangs is named with its last seed."""
    command = [sys.executable, "-m", "nba_ml_tests.registry.forged", str(seeds.start), str(seeds.stop)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        output, how = done.stdout, f"died with {done.returncode}: {done.stderr[-400:]}"
        whole = done.returncode == 0
    except subprocess.TimeoutExpired as error:
        output, how, whole = (error.stdout or b"").decode(), "hung", False
    lines = output.splitlines()
    found = Counter((kind, end) for kind, _, end in (line.partition(" ") for line in lines))
    if not whole:
        found[f"seed {seeds.start + len(lines)}", how] += 1
    return found


def main() -> int:
    if len(sys.argv) == 3:
        for kind, end in ends(range(int(sys.argv[1]), int(sys.argv[2]))):
            print(kind, end, flush=True)
        return 0
    count = int(sys.argv[1])
    total: Counter[tuple[str, str]] = Counter()
    for start in range(0, count, BATCH):
        total += run(range(start, min(start + BATCH, count)))
    for (kind, end), number in sorted(total.items()):
        print(f"{number:6,} {kind}: {end}")
    return int(any(kind.startswith("seed") for kind, _ in total))


if __name__ == "__main__":
    sys.exit(main())
