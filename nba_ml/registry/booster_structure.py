"""Look at an XGBoost model before XGBoost does: its parser trusts indices, and a forged one crashes or hangs it.

Trees that no trainer writes are refused: an index that is out of bounds, a cycle, counts that do not fit, a number that
is not finite, a field that is not known. What passes can be parsed and asked in this process, whatever the row.

What belongs here: the structure. Whether the model is the published one, and predicts what it did, is for
`registry.reader` and `registry.reference`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nba_ml.contract.digest import strict_json
from nba_ml.contract.limits import MODEL_BYTES, TREE_DEPTH, TREES
from nba_ml.registry.ubj import read_ubj

Ints = npt.NDArray[np.int64]

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LARGEST_BASE_SCORE = 1000.0  # points
_DELETED = _NO_PARENT = 2**31 - 1  # XGBoost's marks
_LEAF = -1

_FLOATS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
_INDICES = ("left_children", "right_children", "parents", "split_indices", "default_left", "split_type")
_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_TREE = {*_FLOATS, *_INDICES, *_CATEGORIES, "id", "tree_param"}
_BRACKETS_PER_TREE = 20  # 14 arrays and 2 objects each
_NUMBER = re.compile(r"\[?-?[0-9]{1,20}(\.[0-9]{1,20})?(E-?[0-9]{1,3})?\]?")


class StructureError(ValueError):
    """A model with a structure that cannot be trusted. The message says where and what."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A model whose structure is sound: its `kind` is gbtree or dart, `objective` is XGBoost's name of the loss."""

    kind: str
    objective: str


def inspect_booster(data: bytes) -> Structure:
    """Check the structure of XGBoost's JSON or UBJ.

    Raises:
        StructureError: it is too large, or not a model of trees with one output, whose indices, counts and numbers fit.
    """
    content = _content(data)
    _require_keys(content, "the model", {"learner", "version"})
    learner = content["learner"]
    _require_keys(
        learner, "learner", {"gradient_booster", "learner_model_param", "objective"},
        {"attributes", "feature_names", "feature_types"},
    )  # fmt: skip
    features = _learner_features(learner)
    booster = learner["gradient_booster"]
    kind = booster.get("name") if isinstance(booster, Mapping) else None
    if kind == "dart":
        _require_keys(booster, "gradient_booster", {"name", "gbtree", "weight_drop"})
        weights, booster = booster["weight_drop"], booster["gbtree"]
    elif kind != "gbtree":
        raise StructureError(f"it is of kind {_brief(kind)}, and only trees (gbtree, dart) are supported")
    _require_keys(booster, "gradient_booster", {"model"}, {"name"})
    trees = _trees(booster["model"])
    if kind == "dart" and len(_floats([weights], "weight_drop")) != len(trees):
        raise StructureError(f"weight_drop has {len(weights)} values for {len(trees)} trees")
    _require_trees(trees, features)
    return Structure(kind, _objective(learner["objective"]))


def _content(data: bytes) -> Any:
    if len(data) > MODEL_BYTES:
        raise StructureError(f"it has {len(data):,} bytes, and at most {MODEL_BYTES:,} are allowed")
    try:
        if not (data[1:2].isspace() or data[1:2] == b'"'):
            return read_ubj(data)
        brackets = data.count(b"[") + data.count(b"{")
        if brackets > _BRACKETS_PER_TREE * TREES:
            raise ValueError(f"{brackets:,} arrays and objects")
        return strict_json(data, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise StructureError(f"it is not XGBoost's JSON or UBJ ({error})") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # parsers differ in which of the two they take
        raise ValueError(f"a name twice among {', '.join(sorted(name for name, _ in pairs))[:200]}")
    return found


def _learner_features(learner: Mapping[str, Any]) -> int:
    """The number of features, if the learner has one output and what it says about its features fits."""
    params = learner["learner_model_param"]
    _require_keys(
        params, "learner_model_param", {"base_score", "num_class", "num_feature"}, {"boost_from_average", "num_target"}
    )
    features = _count(params["num_feature"], "num_feature")
    outputs = _count(params["num_class"], "num_class"), _count(params.get("num_target", "1"), "num_target")
    if outputs[0] > 1 or outputs[1] != 1:
        raise StructureError(f"num_class is {outputs[0]} and num_target {outputs[1]}, and one output is expected")
    base = params["base_score"]
    if not (isinstance(base, str) and _NUMBER.fullmatch(base) and abs(float(base.strip("[]"))) <= _LARGEST_BASE_SCORE):
        raise StructureError(f"base_score is {_brief(base)}, and at most {_LARGEST_BASE_SCORE:g} points are expected")
    for name in ("feature_names", "feature_types"):
        named = learner.get(name, [])
        if not isinstance(named, list) or len(named) not in (0, features) or not all(isinstance(e, str) for e in named):
            raise StructureError(f"{name} is {_brief(named)} for {features} features")
    if "c" in learner.get("feature_types", []):
        _refuse_categories()
    attributes = learner.get("attributes", {})
    if not isinstance(attributes, Mapping) or not all(isinstance(each, str) for each in attributes.values()):
        raise StructureError(f"attributes is {_brief(attributes)}")
    return features


def _objective(objective: Any) -> str:
    """The name of the loss. Its parameters are numbers in a mapping of their own."""
    name = objective.get("name") if isinstance(objective, Mapping) else None
    if not isinstance(name, str):
        raise StructureError(f"objective is {_brief(objective)}")
    for key, params in objective.items():
        named = isinstance(params, Mapping) and all(
            isinstance(value, str) and _NUMBER.fullmatch(value) for value in params.values()
        )
        if key != "name" and not (key.endswith("_param") and named):
            raise StructureError(f"objective.{key} is {_brief(params)}")
    return name


def _trees(model: Any) -> list[Mapping[str, Any]]:
    """The trees, if the counts around them fit and none of them knows categories."""
    _require_keys(model, "model", {"gbtree_model_param", "tree_info", "trees"}, {"iteration_indptr", "cats"})
    params, trees = model["gbtree_model_param"], model["trees"]
    _require_keys(params, "gbtree_model_param", {"num_trees"}, {"num_parallel_tree", "size_leaf_vector"})
    count = _count(params["num_trees"], "num_trees")
    if not isinstance(trees, list) or len(trees) != count or not 0 < count <= TREES:
        raise StructureError(f"num_trees is {count}, and 1 to {TREES:,} trees, as many as there are, are expected")
    if _count(params.get("size_leaf_vector", "0"), "size_leaf_vector") > 1:
        raise StructureError("a leaf has more than one value")
    parallel = _count(params.get("num_parallel_tree", "1"), "num_parallel_tree")
    if len(info := _ints([model["tree_info"]], "tree_info")) != count or info.any():
        raise StructureError(f"tree_info has {len(info)} entries for {count} trees, and zeros are expected")
    starts = _ints([model.get("iteration_indptr", [0, count])], "iteration_indptr")
    if starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any() or not 0 < parallel <= count:
        raise StructureError(f"iteration_indptr does not lead from 0 to {count} trees, {parallel} at a time")
    cats = model.get("cats", {})
    if not isinstance(cats, Mapping) or any(_length(each) for each in cats.values()):
        _refuse_categories()
    return trees


def _require_trees(trees: Sequence[Mapping[str, Any]], features: int) -> None:
    """Each tree has a root from which every node that is not deleted is reached once, within the depth allowed."""
    sizes = []
    for number, tree in enumerate(trees):
        _require_keys(tree, f"tree {number}", _TREE)
        params = tree["tree_param"]
        _require_keys(params, f"tree {number}", {"num_nodes", "num_feature", "num_deleted", "size_leaf_vector"})
        size = _count(params["num_nodes"], "num_nodes")
        wrong = [name for name in (*_FLOATS, *_INDICES) if _length(tree[name]) != size]
        if wrong or size == 0:
            raise StructureError(f"tree {number} has {size} nodes, but not as many {', '.join(wrong) or 'as one'}")
        if any(_length(tree[name]) for name in _CATEGORIES):
            _refuse_categories()
        if tree["id"] != number or _count(params["num_feature"], "num_feature") != features:
            raise StructureError(f"tree {number} has the id {_brief(tree['id'])} or other than {features} features")
        if _count(params["size_leaf_vector"], "size_leaf_vector") > 1:
            raise StructureError("a leaf has more than one value")
        sizes.append(size)
    for name in _FLOATS:
        _floats([tree[name] for tree in trees], name)
    nodes = {name: _ints([tree[name] for tree in trees], name) for name in _INDICES}
    deleted = np.array([_count(tree["tree_param"]["num_deleted"], "num_deleted") for tree in trees])
    _require_nodes(nodes, np.array(sizes), deleted, features)


def _require_nodes(nodes: Mapping[str, Ints], sizes: Ints, deleted: Ints, features: int) -> None:
    """The nodes of all trees, one tree after another."""
    tree = np.repeat(np.arange(len(sizes)), sizes)
    root, size, at = (np.cumsum(sizes) - sizes)[tree], sizes[tree], np.arange(len(tree))
    left, right, split = nodes["left_children"], nodes["right_children"], nodes["split_indices"]
    inner = left != _LEAF

    def require(sound: npt.NDArray[np.bool_], what: str) -> None:
        if not sound.all():
            worst = int(np.argmin(sound))
            raise StructureError(f"tree {tree[worst]}, node {worst - root[worst]}: {what}")

    require((inner == (right != _LEAF)) & ((left > 0) & (right > 0) | ~inner), "one child, or a child before the first")
    require(~inner | (left < size) & (right < size), "a child that is not in the tree")
    require(((split >= 0) & (split < features)) | ~inner, f"a split on none of the {features} features")
    require(((split >= 0) & (split < features)) | (split == _DELETED), f"none of the {features} features")
    require(np.isin(nodes["default_left"], (0, 1)), "no direction for a missing value")
    require(nodes["split_type"] == 0, "a split by categories")
    children = np.concatenate([(root + left)[inner], (root + right)[inner]])
    require(np.bincount(children, minlength=len(root)) <= 1, "two parents")
    parent = at.copy()  # a root, and a node that nothing leads to, is its own
    parent[children] = np.concatenate([at[inner], at[inner]])
    linked = parent != at
    require(~linked | (root + nodes["parents"] == parent), "another parent than the node that leads to it")
    require((at != root) | (nodes["parents"] == _NO_PARENT), "a root with a parent")
    loose = ~linked & (at != root)
    require(~(loose & inner), "children of a node that nothing leads to")
    found = np.bincount(tree[loose], minlength=len(sizes))
    if (found != deleted).any():
        raise StructureError(f"tree {np.argmax(found != deleted)} has another number of deleted nodes than it states")
    for _ in range(TREE_DEPTH.bit_length() - 1):  # each step doubles the distance; a cycle never reaches the root
        parent = parent[parent]
    require((parent == root) | loose, f"a cycle, or deeper than {TREE_DEPTH} levels")


def _require_keys(found: Any, where: str, required: Collection[str], optional: Collection[str] = ()) -> None:
    if not isinstance(found, Mapping):
        raise StructureError(f"{where} is {_brief(found)}")
    if missing := set(required) - found.keys():
        raise StructureError(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown := found.keys() - set(required) - set(optional):
        raise StructureError(f"{where} has the unknown {_brief(', '.join(sorted(unknown)))}")


def _count(text: Any, what: str) -> int:
    """A parameter that is a small whole number; XGBoost writes all of them as text."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,9}", text):
        raise StructureError(f"{what} is {_brief(text)}, and a whole number is expected")
    return int(text)


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list | np.ndarray) else -1


def _ints(parts: Sequence[Any], what: str) -> Ints:
    found = _joined(parts, what)
    if found.dtype.kind not in "biu" or not len(found):  # older versions wrote directions as true and false
        raise StructureError(f"{what} has other than whole numbers")
    return found.astype(np.int64)


def _floats(parts: Sequence[Any], what: str) -> npt.NDArray[np.float64]:
    found = _joined(parts, what)
    if found.dtype.kind not in "iuf" or not (np.abs(found.astype(np.float64)) <= _FLOAT32_MAX).all():
        raise StructureError(f"{what} has other than finite numbers")
    return found.astype(np.float64)


def _joined(parts: Sequence[Any], what: str) -> npt.NDArray[Any]:
    """Lists or arrays of numbers one after another."""
    try:
        found = [np.asarray(part) for part in parts]
    except ValueError as error:  # lists of different lengths inside
        raise StructureError(f"{what} is not a list of numbers") from error
    if any(each.ndim != 1 for each in found):
        raise StructureError(f"{what} is not a list of numbers")
    return np.concatenate(found)


def _refuse_categories() -> None:
    raise StructureError("it treats some features as categories, but all features of the contract are numbers")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
