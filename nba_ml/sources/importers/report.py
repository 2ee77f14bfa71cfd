"""What an import did, row by row in sums: every row that was read is in exactly one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

_EXAMPLES = 5


@dataclass
class Refusal:
    """Rows that were refused for one reason, and where the first of them are."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class MonthCounts:
    """Rows of a month's file that the import added, replaced, and had as they were."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass
class ImportReport:
    """The sums of an import."""

    format: str
    folder: str
    files: dict[str, int] = field(default_factory=dict)
    months: dict[str, MonthCounts] = field(default_factory=dict)
    repeated: int = 0
    """Rows that repeat another row of the import exactly, repeated headers among them."""
    paired: int = 0
    """Rows that were put together with another: the over and the under of one line."""
    set_aside: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that are right and not wanted, such as players who did not play."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)
    """Names that matched no player, or more than one."""
    notes: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Rows of all files."""
        return sum(self.files.values())

    @property
    def new(self) -> int:
        return sum(month.new for month in self.months.values())

    @property
    def changed(self) -> int:
        return sum(month.changed for month in self.months.values())

    @property
    def unchanged(self) -> int:
        return sum(month.unchanged for month in self.months.values())

    @property
    def refused_rows(self) -> int:
        return sum(refusal.rows for refusal in self.refused.values())

    @property
    def set_aside_rows(self) -> int:
        return sum(self.set_aside.values())

    def put_aside(self, reason: str, rows: int) -> None:
        """Count rows that are right and not wanted."""
        if rows:
            self.set_aside[reason] = self.set_aside.get(reason, 0) + rows

    def refuse(self, reason: str, rows: Iterable[str]) -> None:
        """Count refused rows; `rows` says where each is."""
        refusal = self.refused.setdefault(reason, Refusal())
        for row in rows:
            refusal.rows += 1
            if len(refusal.examples) < _EXAMPLES:
                refusal.examples.append(row)
        if not refusal.rows:
            del self.refused[reason]

    def name(self, unmatched: Mapping[tuple[str, str, str], list[date]]) -> None:
        """Add names that matched no player, or several: (name, team, reason) -> the dates of their rows."""
        self.names += [
            {"player_name": name, "team": team, "reason": why, "rows": len(days), "first": str(min(days))}
            for (name, team, why), days in sorted(unmatched.items())
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it, in types of JSON."""
        sums = ("read", "new", "changed", "unchanged", "refused_rows", "set_aside_rows")
        return {**{name: getattr(self, name) for name in sums}, **asdict(self)}
