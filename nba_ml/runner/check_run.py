"""Run the asset checks of a month on what is materialised, and report the results: for CI and for tests.

What belongs here: running checks only, and writing the results as JUnit and as Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree

import dagster as dg

from nba_ml.checks.check import Check
from nba_ml.checks.registry import all_checks
from nba_ml.contract.errors import ChecksFailedError, MissingMonthsError
from nba_ml.contract.systems import SHARED_ASSETS, system_of_asset
from nba_ml.runner.backfill import Backfill, step_failures


class CheckStatus(StrEnum):
    """The result of a check. `ERROR`: it could not run, which never counts as passed."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check, its status, and its description of the result."""

    check: Check
    status: CheckStatus
    text: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcomes of a month, in the order of the graph. `SKIPPED` are those of assets never materialised."""

    month: str
    outcomes: tuple[Outcome, ...]
    run_id: str

    def of(self, status: CheckStatus) -> tuple[Outcome, ...]:
        """The outcomes with this status."""
        return tuple(outcome for outcome in self.outcomes if outcome.status is status)

    @property
    def headline(self) -> str:
        """The counts: `2025-06: 31 passed, 2 warned`."""
        counts = ((status, len(self.of(status))) for status in CheckStatus)
        return f"{self.month}: " + ", ".join(f"{n} {status}" for status, n in counts if n)

    def require_passed(self) -> None:
        """Return if every check ran and none failed; a warning is not a failure.

        Raises:
            ChecksFailedError: lists the checks with their results.
        """
        bad = (*self.of(CheckStatus.FAILED), *self.of(CheckStatus.ERROR))
        if bad:
            listed = "; ".join(f"{outcome.check.key}: {outcome.text}" for outcome in bad)
            raise ChecksFailedError(f"{self.headline}. {listed}")

    def junit(self) -> str:
        """The report as JUnit XML: one test case per check. A warning is a passed case whose output says so."""
        suite = ElementTree.Element(
            "testsuite",
            name=f"nba_ml {self.month}",
            tests=str(len(self.outcomes)),
            failures=str(len(self.of(CheckStatus.FAILED))),
            errors=str(len(self.of(CheckStatus.ERROR))),
            skipped=str(len(self.of(CheckStatus.SKIPPED))),
        )
        for outcome in self.outcomes:
            case = ElementTree.SubElement(suite, "testcase", classname=outcome.check.asset, name=outcome.check.name)
            if (element := _ELEMENTS.get(outcome.status)) is not None:
                ElementTree.SubElement(case, element, message=outcome.text).text = outcome.check.reason
            else:
                word = "warning: " if outcome.status is CheckStatus.WARNED else ""
                ElementTree.SubElement(case, "system-out").text = word + outcome.text
        root = ElementTree.Element("testsuites")
        root.append(suite)
        ElementTree.indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"

    def markdown(self) -> str:
        """The report as Markdown: problems first, then all checks."""
        red = bool(self.of(CheckStatus.FAILED) or self.of(CheckStatus.ERROR))
        lines = [f"## {'❌' if red else '✅'} {self.headline}", ""]
        for outcome in (*self.of(CheckStatus.ERROR), *self.of(CheckStatus.FAILED), *self.of(CheckStatus.WARNED)):
            lines += [
                f"- {_MARKS[outcome.status]} **{outcome.check.key}** ({outcome.check.consequence}): {outcome.text}"
            ]
        lines += [
            "",
            "<details><summary>All checks</summary>",
            "",
            "| asset | check | | result |",
            "|---|---|---|---|",
        ]
        for outcome in self.outcomes:
            text = outcome.text.replace("|", "\\|").replace("\n", " ")
            lines += [f"| {outcome.check.asset} | {outcome.check.name} | {_MARKS[outcome.status]} | {text} |"]
        return "\n".join([*lines, "", "</details>", ""])


_ELEMENTS = {CheckStatus.FAILED: "failure", CheckStatus.ERROR: "error", CheckStatus.SKIPPED: "skipped"}
_MARKS = {
    CheckStatus.PASSED: "✅",
    CheckStatus.WARNED: "⚠️",
    CheckStatus.FAILED: "❌",
    CheckStatus.ERROR: "💥",
    CheckStatus.SKIPPED: "⬜",
}


def check_month(backfill: Backfill, month: str) -> CheckReport:
    """Run every check of the materialised assets of the month, of every system that has any of its own.

    One Dagster run, which materialises nothing.

    Raises:
        MissingMonthsError: the month has no model, so its checks would be skipped.
    """
    planner = backfill.planner
    stored = planner.stored_assets(month)
    begun = [
        system for system in backfill.systems if any(system_of_asset(a) == system for a in stored - {*SHARED_ASSETS})
    ]
    checks = all_checks(planner.limits, begun)
    present = {check.asset for check in checks} & stored
    if present.isdisjoint(system.asset("xgboost_model") for system in backfill.systems):
        found = f"only {', '.join(sorted(present))}" if present else "nothing that has checks"
        raise MissingMonthsError(
            f"{month} has no model: {found} is materialised. Run `nba-ml run --month {month}` first, or give --month "
            "a month that has a model."
        )
    result = backfill.check(month, [check for check in checks if check.asset in present])
    return CheckReport(month, tuple(_outcomes(result, checks, present)), result.run_id)


def _outcomes(result: dg.ExecuteInProcessResult, checks: Sequence[Check], present: set[str]) -> Iterator[Outcome]:
    found = {(e.asset_key.to_user_string(), e.check_name): e for e in result.get_asset_check_evaluations()}
    failures = {failure.step: failure for failure in step_failures(result)}
    for check in checks:
        evaluation = found.get((check.asset, check.name))
        if evaluation is not None:
            bad = CheckStatus.FAILED if evaluation.severity is dg.AssetCheckSeverity.ERROR else CheckStatus.WARNED
            yield Outcome(check, CheckStatus.PASSED if evaluation.passed else bad, evaluation.description or "")
        elif check.asset not in present:
            yield Outcome(check, CheckStatus.SKIPPED, f"{check.asset} is not materialised")
        else:
            failure = failures.get(f"{check.asset}_checks")
            yield Outcome(
                check, CheckStatus.ERROR, f"could not run: {failure.message if failure else 'see the run in the UI'}"
            )
