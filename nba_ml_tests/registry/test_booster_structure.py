"""A forged booster is refused before XGBoost parses it, and the process that tries a model has limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.limits import MODEL_BYTES, TREE_DEPTH
from nba_ml.registry import fresh_process
from nba_ml.registry.booster_structure import StructureError, inspect_booster
from nba_ml.registry.reader import verify_bundle
from nba_ml.registry.reference import predict_loaded
from nba_ml.registry.ubj import read_ubj
from nba_ml_tests.registry.forged import run, small_booster
from nba_ml_tests.registry.test_reader import bundle_with

BOOSTER = small_booster()


def trees(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["learner"]["gradient_booster"]["model"]["trees"]
    return found


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(BOOSTER)
    change(content)
    return json.dumps(content).encode()


def chain(content: dict[str, Any]) -> None:
    """The first tree one level deeper than allowed: every left child is split again."""
    tree, levels = trees(content)[0], TREE_DEPTH + 1
    size = 2 * levels + 1
    inner = [2 * level for level in range(levels)]  # the nodes 0, 1, 3, 5 ... in order of depth
    nodes = [0, *(each - 1 for each in inner[1:])]
    for name, values in tree.items():
        if isinstance(values, list) and values:
            tree[name] = [0] * size
    tree["left_children"], tree["right_children"], tree["parents"] = [-1] * size, [-1] * size, [2**31 - 1] * size
    for level, node in enumerate(nodes):
        tree["left_children"][node], tree["right_children"][node] = 2 * level + 1, 2 * level + 2
        tree["parents"][2 * level + 1] = tree["parents"][2 * level + 2] = node
    tree["tree_param"]["num_nodes"] = str(size)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "feature beyond": (lambda c: trees(c)[1]["split_indices"].__setitem__(0, 33), "tree 1, node 0: a split on none"),
    "feature before": (lambda c: trees(c)[1]["split_indices"].__setitem__(0, -1), "tree 1, node 0: a split on none"),
    "child beyond": (lambda c: trees(c)[2]["left_children"].__setitem__(0, 10**6), "tree 2, node 0: a child that is"),
    "child before": (lambda c: trees(c)[2]["right_children"].__setitem__(1, -7), "tree 2, node 1: one child"),
    "one child": (lambda c: trees(c)[2]["right_children"].__setitem__(0, -1), "tree 2, node 0: one child"),
    "cycle": (lambda c: trees(c)[0]["left_children"].__setitem__(1, 1), "tree 0, node"),
    "two parents": (lambda c: trees(c)[0]["left_children"].__setitem__(0, 2), "tree 0, node 2: two parents"),
    "parent": (lambda c: trees(c)[0]["parents"].__setitem__(2, 1), "tree 0, node 2: another parent"),
    "root's parent": (lambda c: trees(c)[3]["parents"].__setitem__(0, 0), "tree 3, node 0: a root with a parent"),
    "deep": (chain, f"deeper than {TREE_DEPTH} levels"),
    "infinite": (lambda c: trees(c)[0]["split_conditions"].__setitem__(0, 1e39), "split_conditions has other"),
    "a half": (lambda c: trees(c)[0]["left_children"].__setitem__(0, 1.5), "left_children has other than whole"),
    "text": (lambda c: trees(c)[0]["base_weights"].__setitem__(0, "1"), "base_weights has other than finite"),
    "direction": (lambda c: trees(c)[0]["default_left"].__setitem__(0, 2), "tree 0, node 0: no direction"),
    "category": (lambda c: trees(c)[0]["split_type"].__setitem__(0, 1), "tree 0, node 0: a split by categories"),
    "categories": (lambda c: trees(c)[0].update(categories=[1]), "treats some features as categories"),
    "a node less": (lambda c: trees(c)[0]["sum_hessian"].pop(), "nodes, but not as many sum_hessian"),
    "deleted": (lambda c: trees(c)[0]["tree_param"].update(num_deleted="1"), "tree 0 has another number of deleted"),
    "a tree less": (lambda c: trees(c).pop(), "num_trees is 12"),
    "order": (lambda c: trees(c).reverse(), "tree 0 has the id 11"),
    "group": (lambda c: c["learner"]["gradient_booster"]["model"]["tree_info"].__setitem__(0, 5), "tree_info has 12"),
    "rounds": (
        lambda c: c["learner"]["gradient_booster"]["model"]["iteration_indptr"].__setitem__(12, 99),
        "iteration_indptr does not lead from 0 to 12 trees",
    ),
    "base": (lambda c: c["learner"]["learner_model_param"].update(base_score="[1E9]"), "base_score is '[1E9]'"),
    "outputs": (lambda c: c["learner"]["learner_model_param"].update(num_target="2"), "one output is expected"),
    "features": (lambda c: c["learner"]["learner_model_param"].update(num_feature="34"), "feature_names is"),
    "unknown": (lambda c: c["learner"].update(updater={"seed": "1"}), "learner has the unknown 'updater'"),
    "missing": (lambda c: c["learner"].pop("objective"), "learner lacks objective"),
    "objective": (lambda c: c["learner"]["objective"].update(x_param={"a": []}), "objective.x_param is"),
    "linear": (lambda c: c["learner"]["gradient_booster"].update(name="gblinear"), "it is of kind 'gblinear'"),
}


@pytest.mark.parametrize(("change", "expecting"), CHANGES.values(), ids=CHANGES.keys())
def test_what_no_trainer_writes_is_refused(change: Callable[[dict[str, Any]], object], expecting: str) -> None:
    """Guards each index, count and number of a booster on its own."""
    with pytest.raises(StructureError) as caught:
        inspect_booster(changed(change))
    assert expecting in str(caught.value)


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"objective": "reg:squarederror", "tree_method": "exact", "gamma": 50.0},
        {"booster": "dart", "rate_drop": 0.3},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"objective": "reg:pseudohubererror", "grow_policy": "lossguide", "max_depth": 0, "max_leaves": 40},
        {"objective": "reg:quantileerror", "quantile_alpha": 0.5},
    ],
    ids=["plain", "pruned", "dart", "forest", "lossguide", "quantile"],
)
def test_what_trainers_write_is_accepted(params: dict[str, Any], form: str) -> None:
    """Guards against refusing a real model: pruned trees have deleted nodes, a forest several trees in a round."""
    source = np.random.default_rng(1)
    rows = source.random((500, V2_33FEATURES.count), dtype=np.float32) * 40
    matrix = xgb.DMatrix(rows, label=rows[:, 0] + source.normal(0, 3, 500))
    trained = xgb.train({"objective": "reg:absoluteerror", "max_depth": 5, "nthread": 1, **params}, matrix, 4)
    found = inspect_booster(bytes(trained.save_raw(form)))
    assert found.objective == params.get("objective", "reg:absoluteerror")
    assert found.kind == params.get("booster", "gbtree")


def test_ubj_reads_as_the_same_content_as_json() -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list):
            return [plain(each) for each in value]
        return float(np.float32(value)) if isinstance(value, float) else value

    assert plain(read_ubj(small_booster("ubj"))) == plain(json.loads(BOOSTER))


@pytest.mark.parametrize(
    "data",
    [
        b"{" + b" " * MODEL_BYTES,
        BOOSTER[:-1],
        BOOSTER + b"{}",
        BOOSTER.replace(b'"version":', b'"learner":{},"version":', 1),
        b'{"a":' + b"[" * 100_000,
        b'{"a":[' + b"[]," * 500_000 + b"[]]}",
        small_booster("ubj")[:-1],
        small_booster("ubj") + b"}",
        b"{L\0\0\0\0\0\0\0\1a[$L#L\x0f\xff\xff\xff\xff\xff\xff\xff",
        b"{L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"{" + b"L\0\0\0\0\0\0\0\1a{" * 100_000,
    ],
    ids=[
        "too large", "cut", "more", "twice", "nested", "many lists", "cut ubj", "more ubj", "long array", "negative",
        "nested ubj",
    ],
)  # fmt: skip
def test_bytes_that_are_no_model(data: bytes) -> None:
    """Guards memory and the stack: no length is believed, and what is too large or too deep is refused."""
    with pytest.raises(StructureError):
        inspect_booster(data)


@pytest.mark.slow
def test_a_split_that_only_other_rows_reach_never_serves() -> None:
    """Guards against a booster that predicts the reference rows as recorded, and crashes with a request's row."""
    rows: list[list[float | None]] = [[1.0] * 33 for _ in range(3)]
    content = json.loads(BOOSTER)
    for tree in trees(content):
        at = 0
        while tree["left_children"][at] != -1:
            below = tree["split_conditions"][at] > 1.0
            other, at = (tree["right_children"][at], tree["left_children"][at])[:: 1 if below else -1]
            if tree["left_children"][other] != -1:
                tree["split_indices"][other] = 2**30
    recorded = predict_loaded(xgb.Booster(model_file=bytearray(BOOSTER)), rows, V2_33FEATURES)
    references = [{"features": row, "prediction": each} for row, each in zip(rows, recorded, strict=True)]
    name, objects = bundle_with(json.dumps(content).encode(), reference_rows=references)
    with pytest.raises(BundleError, match=r"a split on none of the 33 features"):
        verify_bundle(objects.get, name)


@pytest.mark.slow
def test_no_forged_booster_kills_the_process_that_loads_it() -> None:
    """Guards against a crash or a hang that no rule above knows: a sample of the 10,000 of `registry.forged`."""
    found = run(range(400))
    assert sum(found.values()) == 400, found
    assert not any(kind.startswith("seed") for kind, _ in found), found
    assert {end for _, end in found} >= {"refused", "asked"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "expecting"),
    [
        ("return [len(bytearray(5 * 2**30))]", "exited with 1: .*MemoryError"),
        ("assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0\n    return [1.0]", ""),
        (
            "resource.setrlimit(resource.RLIMIT_CPU, (1, resource.getrlimit(resource.RLIMIT_CPU)[1]))"
            "\n    while True: pass",
            "used more than 120 seconds of processor time",
        ),
        ("os.write(1, b'a library says so')\n    print('and so')\n    return [1.0]", ""),
        ("os.write(2, b'\\xff of the file')\n    os._exit(3)", "exited with 3: \ufffd of the file"),
    ],
    ids=["memory", "core", "processor", "logs", "bytes"],
)
def test_the_process_that_tries_a_model_has_limits(
    body: str, expecting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the machine: a model that takes all memory or never ends is stopped, and its end is told.

    And the answer: what a library prints is no part of it, and need not be text.
    """
    (tmp_path / "trial_of_limits.py").write_text(f"import os, resource\n\ndef answer(model, rows):\n    {body}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if not expecting:
        assert fresh_process.predict_in_subprocess("trial_of_limits:answer", b"{", [[1.0]], "it") == [1.0]
        return
    with pytest.raises(BundleError, match=expecting):
        fresh_process.predict_in_subprocess("trial_of_limits:answer", b"{", [[1.0]], "it")


def test_a_model_file_that_is_too_large_is_not_tried() -> None:
    with pytest.raises(BundleError, match=f"at most {MODEL_BYTES:,} are loaded"):
        fresh_process.predict_in_fresh_process(b"{" + b" " * MODEL_BYTES, [], V2_33FEATURES)
