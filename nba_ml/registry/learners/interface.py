"""What a learner is: how it recognises, parses and asks a model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from nba_ml.contract.errors import BundleError, MissingExtraError
from nba_ml.contract.features import FeatureVersion

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MissingValues:
    """Positions of the features that a model splits on, and of those that it has seen missing in training."""

    used: frozenset[int]
    seen: frozenset[int]

    @property
    def unseen(self) -> frozenset[int]:
        """Features that it uses and never saw missing: for these, its output for NaN was never fitted to anything."""
        return self.used - self.seen


@dataclass(frozen=True, slots=True)
class ParsedModel:
    """A model in memory. Any number of threads may predict with it at once.

    `names` are its embedded feature names; () if it was trained on an array, whose columns have none. `columns` is how
    many features it takes. `predict` maps vectors (n, columns), NaN for missing, to points (n,), and `contributions` to
    what each feature contributes to those, and last the base (n, columns + 1). `missing` reads the trees, which takes
    up to seconds.
    """

    names: tuple[str, ...]
    columns: int
    predict: Callable[[Vectors], Any]
    contributions: Callable[[Vectors], Any]
    missing: Callable[[], MissingValues]


@dataclass(frozen=True, slots=True)
class Learner:
    """A kind of model file.

    `parse` takes the bytes, what to call them in an error message, and how many threads predict (None for all cores;
    they change the speed only). `suffix_of` gives the file's suffix.
    `extra` is the extra of nba_ml that installs the library; None if it is always installed.
    """

    system_id: str
    model_type: str
    title: str
    library: str
    extra: str | None
    suffix_of: Callable[[bytes], str]
    parse: Callable[[bytes, str, int | None], ParsedModel]

    @property
    def version(self) -> str:
        """The installed version of the library. Raises MissingExtraError if it is not installed."""
        return str(self.load_library().__version__)

    def load_library(self) -> Any:
        """Import the library. Raises MissingExtraError if it is not installed."""
        return library(self.library, self.title, self.extra)


def library(name: str, title: str, extra: str | None) -> Any:
    """Import a learner's library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name or extra is None:
            raise  # it is installed but lacks a dependency
        raise MissingExtraError(
            f"A {title} model was requested, but {title} is not installed. Run pip install '{extra}'."
        ) from error


def require_features(model: ParsedModel, version: FeatureVersion, given: bool, what: str) -> None:
    """Require that a model's features are the version's, by name and in order.

    Args:
        given: whether a person stated that the columns of a model without names are the version's.

    Raises:
        BundleError: they are others, or not known.
    """
    names = model.names or (version.names if given else ())
    if not names:
        advice = (
            f"If they were the contract's in the contract's order, say so when you register it: --features "
            f"{version.name}"
            if model.columns == version.count
            else f"{version.name} has {version.count} features: train it with those"
        )
        raise BundleError(
            f"{what} was trained on an array of {model.columns} columns, which have no names, so it is not known what "
            f"they are. {advice}. With other columns its predictions would be silently wrong."
        )
    if names != version.names or model.columns != version.count:
        at = _first_difference(names, version.names)
        raise BundleError(
            f"{what} has other features: {len(names)} of them, and at position {at} {_at(names, at)!r} where "
            f"{version.name} has {_at(version.names, at)!r}. Train it with the contract's names in the contract's "
            "order; with other columns its predictions would be silently wrong."
        )


def _first_difference(names: tuple[str, ...], others: tuple[str, ...]) -> int:
    longest = max(len(names), len(others))
    return next((i for i in range(longest) if _at(names, i) != _at(others, i)), longest)


def _at(names: tuple[str, ...], position: int) -> str:
    return names[position] if position < len(names) else "none"


def refuse_categories(what: str) -> None:
    """Raise BundleError for a model that treats features as categories."""
    raise BundleError(
        f"{what} treats some features as categories, but all features of the contract are numbers. Train it without "
        "categorical features."
    )
