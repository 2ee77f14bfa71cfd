"""Reads the README and the pages of the site: their code blocks, headings and links.

A comment directly above a block says how a test treats it:

    <!-- snippet: exit 1 -->                                  the exit code to expect; 0 without a comment
    <!-- snippet: in the background until http://... -->      started, and left running once the address answers
    <!-- snippet: not run: REASON -->                         checked for names only

A `text` block is the output of the block above it: every line must appear, in that order. `...` in a line stands for
any text, and a line of `...` alone for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = ROOT / "docs" / "pages"
TUTORIAL = PAGES / "tutorial.md"

SHELL, PYTHON, OUTPUT = "sh", "python", "text"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_KNOWN = re.compile(r"exit \d+|in the background until http://\S+|not run: .+")
_DIRECTIVE = re.compile(r"<!-- snippet: (.+?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced code block. `directive` is its comment, `output` the `text` blocks below it; '' for none."""

    page: Path
    line: int
    language: str
    text: str
    directive: str = ""
    output: str = ""

    @property
    def place(self) -> str:
        """`docs/pages/tutorial.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def why_not_run(self) -> str:
        """The reason of a block that is not run; '' if it is."""
        return self.directive.removeprefix("not run: ") if self.directive.startswith("not run: ") else ""

    @property
    def exit_code(self) -> int:
        """The exit code to expect."""
        return int(self.directive.removeprefix("exit ")) if self.directive.startswith("exit ") else 0

    @property
    def until(self) -> str:
        """The address that answers once a background block is ready; '' for a block in the foreground."""
        start = "in the background until "
        return self.directive.removeprefix(start) if self.directive.startswith(start) else ""


def pages() -> list[Path]:
    """The README and every page of the site."""
    return [README, *sorted(PAGES.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page in order; a block of output is part of the block that it belongs to."""
    found: list[Block] = []
    text = page.read_text()
    end = 0
    for match in _FENCE.finditer(text):
        between = text[end : match.start()]
        end = match.end()
        content = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.M)
        if match["language"] == OUTPUT and found:
            found[-1] = replace(found[-1], output=found[-1].output + content)
            continue
        comment = _DIRECTIVE.search(between)
        directive, line = comment[1] if comment else "", text.count("\n", 0, match.start()) + 1
        if directive and not _KNOWN.fullmatch(directive):
            raise ValueError(f"{page}:{line}: no test understands '{directive}'")
        found.append(Block(page, line, match["language"], content, directive))
    return found


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def shell_lines(text: str) -> Iterator[str]:
    """The commands of a shell block, with continuation lines joined and comments removed."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*", "", line).strip()
        if command:
            yield command


def missing_line(expected: str, actual: str) -> str | None:
    """The first line of a printed output that the actual output does not have in that place; None if all are there."""
    rest = [" ".join(line.split()) for line in actual.splitlines()]
    for line in expected.splitlines():
        wanted = " ".join(line.split())
        if wanted in ("", "..."):
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("..."))))
        place = next((i for i, each in enumerate(rest) if pattern.fullmatch(each)), None)
        if place is None:
            return line
        rest = rest[place + 1 :]
    return None
