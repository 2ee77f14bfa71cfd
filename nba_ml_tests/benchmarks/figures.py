"""The figures that the parts of `make bench` leave for the table at its end: ratios, and what else has a target."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "BENCHMARK_FIGURES"
"""The variable that names the file that they are kept in; nothing is kept without it, when a part runs alone."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured; `most` is its target, None where there is none. Without a unit it is a ratio."""

    what: str
    found: float
    most: float | None = None
    unit: str = ""

    @property
    def missed(self) -> bool:
        return self.most is not None and self.found > self.most

    def markdown(self) -> str:
        """A row of the table."""
        unit = f" {self.unit}" if self.unit else ""
        target = "" if self.most is None else f"at most {self.most:,.2f}{unit}{', **missed**' if self.missed else ''}"
        return f"| {self.what} | {self.found:,.2f}{unit} | {target} |"


def keep(figures: Sequence[Figure]) -> None:
    """Leave figures for the table."""
    if file := os.environ.get(FILE):
        with Path(file).open("a") as lines:
            lines.writelines(json.dumps(asdict(each)) + "\n" for each in figures)


def kept(file: Path) -> list[Figure]:
    """What the parts have left, in order."""
    return [Figure(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
