"""One line at the end of a test run that says how much went wrong on purpose. A hook for a conftest to import."""

from __future__ import annotations

from collections import Counter

import pytest

PREFIX = "faults: "
"""What the names of the recorded counts begin with."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what the fault tests recorded, in whichever worker they ran."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                named = {name: value for name, value in report.user_properties if name.startswith(PREFIX)}
                counts.update({name.removeprefix(PREFIX): value for name, value in named.items()})
    if counts:
        terminalreporter.write_line(PREFIX + ", ".join(f"{value:,} {name}" for name, value in counts.items()))
