"""Common to all commands of `nba-ml`: an error becomes one readable paragraph and an exit code."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial, wraps
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from nba_ml.contract.errors import NbaMlError
from nba_ml.contract.system_errors import REASONS, reason_of
from nba_ml.contract.text import printable_lines

if TYPE_CHECKING:
    import pandas as pd

FAILED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 130
"""Exit codes: it ran with a negative result or without any; it could not run; Ctrl-C."""

_LONGEST_MESSAGE = 600
"""Characters shown of an error that is not ours; a database's can be pages of SQL."""

_WIDTH = 80
"""Columns of a terminal that tables fit into."""

out = Console()
err = Console(stderr=True)


def command(function: Callable[..., int]) -> Callable[..., None]:
    """Errors as one readable paragraph and an exit code; a traceback only with --debug."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        context = click.get_current_context()
        debug: bool = context.find_root().obj
        try:
            code = function(*args, **kwargs)
        except NbaMlError as error:
            if debug:
                raise
            err.print(f"[red]Error:[/red] {escaped(str(error))}", soft_wrap=True)
            code = COULD_NOT_RUN
        except KeyboardInterrupt:
            err.print(
                "Interrupted. What was finished is kept: run the same command again (a backfill with --only-missing) "
                "to continue from there.",
                soft_wrap=True,
            )
            code = INTERRUPTED
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if debug:
                raise
            named = context.command_path.partition(" ")[2]  # 'slate predict', not 'predict' alone
            err.print(_refused(error) or _unexpected(error, named), soft_wrap=True)
            code = COULD_NOT_RUN
        sys.exit(code)

    return wrapped


def _refused(error: Exception) -> str | None:
    """What the operating system refused, where that is known."""
    if not isinstance(error, OSError) or error.errno not in REASONS:
        return None
    file = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
    text = escaped(f"Cannot read or write {file}: {reason_of(error)}")
    return f"[red]Error:[/red] {text}. Run the command again afterwards."


def _unexpected(error: Exception, command: str) -> str:
    text = escaped(f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST_MESSAGE]}")
    return f"[red]Unexpected error:[/red] {text}. Stopped here. `nba-ml --debug {command}` shows the traceback."


def say(text: str) -> None:
    """Print lines without colour, wrapping or markup."""
    out.print(printable_lines(text), highlight=False, soft_wrap=True, markup=False)


def show_frame(frame: pd.DataFrame, below: Sequence[str] = ()) -> None:
    """Print a table for a narrow terminal: the columns `below`, which are long, follow their row by name."""
    header, *lines = frame.drop(columns=list(below)).to_string(index=False).splitlines()
    say(header)
    for line, values in zip(lines, frame[list(below)].astype(str).to_dict("records"), strict=True):
        say(line)
        named = "; ".join(f"{name}: {value}" for name, value in values.items() if value)
        for part in wrap(named, _WIDTH - 2, break_long_words=False, break_on_hyphens=False):
            say(f"  {part}")


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"'{text}' is not a date. Give it as YYYY-MM-DD.") from error
    if found.isoformat() != text:  # fromisoformat also accepts 2025-W03-1
        raise click.UsageError(f"'{text}' is {found}: give it as YYYY-MM-DD.")
    return found


day_option = partial(click.option, type=_day, metavar="YYYY-MM-DD")
"""`click.option` for a date."""


def show_json(value: object) -> None:
    """Print a value as JSON: dates and times in ISO form, NaN and infinity, which JSON lacks, as null."""
    click.echo(json.dumps(_finite(value), indent=2, default=_plain, ensure_ascii=False, allow_nan=False))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def escaped(text: str) -> str:
    """Escape Rich's markup, and what would steer the terminal."""
    from rich.markup import escape

    return escape(printable_lines(text))
