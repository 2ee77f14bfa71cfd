"""What a page is made of, and its rendering: as HTML for a browser, as Markdown for a model hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from nba_ml.evaluation.report.tables import Table
from nba_ml.evaluation.report.templates import template


@dataclass(frozen=True, slots=True)
class Tile:
    """A number at the top of the page."""

    number: str
    what: str
    detail: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what follows, in this order. `details` are named tables that a click on `summary` shows.

    `charts` are SVG, `code` is shown as it is. `links` are names and addresses, for a browser only.
    """

    title: str
    paragraphs: Sequence[str] = ()
    lead: str = ""
    picture: Mapping[str, str] | None = None
    charts: Sequence[Markup] = ()
    table: Table | None = None
    summary: str = ""
    details: Sequence[tuple[str, Table]] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    links: Mapping[str, str] = field(default_factory=dict)


def html_page(title: str, headline: str, verdict: str, tiles: Iterable[Tile], sections: Iterable[Section]) -> str:
    """The page as HTML, without scripts or outside resources. `verdict` is the paragraph under the headline."""
    return template("page.html.jinja").render(
        title=title, headline=headline, verdict=verdict, tiles=list(tiles), sections=list(sections)
    )


def markdown_page(front_matter: str, headline: str, verdict: str, sections: Iterable[Section]) -> str:
    """The same as Markdown, without the pictures. `front_matter` is YAML."""
    return template("page.md.jinja").render(
        front_matter=front_matter, headline=headline, verdict=verdict, sections=list(sections)
    )
