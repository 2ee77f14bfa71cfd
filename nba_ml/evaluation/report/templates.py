"""The package's Jinja templates: HTML and SVG escape every value by themselves, Markdown by the filter `md`."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from nba_ml.evaluation.report.tables import Cell, cell_text

if TYPE_CHECKING:
    from jinja2 import Template

_SPECIAL = re.compile(r"[\\`*\[\]|~#]|(?<!\w)_|_(?!\w)")
"""What Markdown would take for a mark-up. An underscore inside of a name is none."""


@cache
def template(name: str) -> Template:
    """The template in this folder."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # every command imports this module, and few draw

    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=not name.endswith(".md.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = markdown_cell
    return environment.get_template(name)


def markdown_cell(cell: Cell) -> str:
    """A table's cell in Markdown; nothing in it is taken for Markdown or HTML."""
    text = escape(" ".join(cell_text(cell).split()), quote=False)
    return _SPECIAL.sub(r"\\\g<0>", text)
