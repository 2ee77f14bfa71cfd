"""LightGBM's text files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nba_ml.contract.errors import BundleError
from nba_ml.registry.learners.interface import Learner, MissingValues, ParsedModel, library, refuse_categories

MAGIC = b"tree\n"
"""The first line of LightGBM's text format."""

EXTRA = "nba_ml[lightgbm]"


def parse(data: bytes, what: str, threads: int | None) -> ParsedModel:
    """Load the model in a text file.

    Raises:
        BundleError: LightGBM cannot load it, it is cut off, or it treats features as categories.
        MissingExtraError: LightGBM is not installed.
    """
    lightgbm = library("lightgbm", "LightGBM", EXTRA)
    try:
        text = data.decode()
        # LightGBM loads the trees of a file that was cut off, and says nothing.
        if "\nend of trees\n" not in text:
            raise BundleError(f"{what} is cut off: it has no line 'end of trees'. Copy it again.")
        model = lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise BundleError(f"{what} cannot be loaded by LightGBM {lightgbm.__version__}: {error}") from error
    names = tuple(model.feature_name())
    unnamed = names == tuple(f"Column_{position}" for position in range(len(names)))
    if any(line.startswith("num_cat=") and line != "num_cat=0" for line in text.splitlines()):
        refuse_categories(what)
    return ParsedModel(
        names=() if unnamed else names,
        columns=len(names),
        predict=lambda vectors: model.predict(vectors, num_threads=threads or 0),
        contributions=lambda vectors: model.predict(vectors, num_threads=threads or 0, pred_contrib=True),
        missing=lambda: _missing(model),
    )


def _missing(model: Any) -> MissingValues:
    """From the splits: a feature that was never missing in training has the missing type None."""
    used, seen = set(), set()
    for split in _splits([tree["tree_structure"] for tree in model.dump_model()["tree_info"]]):
        used.add(split["split_feature"])
        if split["missing_type"] == "NaN":
            seen.add(split["split_feature"])
    return MissingValues(frozenset(used), frozenset(seen))


def _splits(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    while nodes:
        node = nodes.pop()
        if "split_feature" in node:
            yield node
            nodes += [node["left_child"], node["right_child"]]


LIGHTGBM = Learner(
    system_id="lightgbm_registered",
    model_type="lightgbm",
    title="LightGBM",
    library="lightgbm",
    extra=EXTRA,
    suffix_of=lambda _: ".txt",
    parse=parse,
)
