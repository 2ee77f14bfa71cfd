"""Our errors as failures of Dagster's own kind: the UI shows the reason first, and not the way it came."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import dagster as dg

from nba_ml.contract.errors import NbaMlError

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")


def fails_with_its_reason(function: Callable[_Parameters, _Returned]) -> Callable[_Parameters, _Returned]:
    """Raise `dg.Failure` with the words of an error of ours, and the error as its cause. A bug stays as it is."""

    @wraps(function)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Returned:
        try:
            return function(*args, **kwargs)
        except NbaMlError as error:
            raise dg.Failure(description=str(error)) from error

    return run
