"""What the asset checks said, bound to the bytes they looked at.

Dagster's blocking checks hold only inside their own run. The publisher therefore demands a
verdict of its own: every blocking check, passed, for exactly the digests being published.

A person may override one named check, with a reason that is published with the model. There is no switch
that overrides whatever fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nba_ml.contract.errors import NotVerifiedError, OverrideError

SHORTEST_REASON = 10
"""Characters. 'ok' is no reason."""


class CheckVerdict(BaseModel):
    """One blocking check's result on one partition of one asset.

    `subject` is the digest (Dagster data version) of the materialisation that the check looked at. `found` says
    in words why a check did not pass. `final` ones cannot be overridden: what they look at means nothing, or
    they have not spoken.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    check: str
    month: str
    passed: bool
    subject: str
    found: str = ""
    final: bool = False

    @property
    def key(self) -> str:
        """`xgboost_model.beats_last_10_average`: how an override names it."""
        return f"{self.asset}.{self.check}"

    def __str__(self) -> str:
        return f"{self.check} on {self.asset} of {self.month} ({self.found or 'failed'})"


class Override(BaseModel):
    """A person's word that a model may be published although one named check failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str = Field(description="The check, as asset.check: xgboost_model.beats_last_10_average.")
    reason: str = Field(description="Why it may be published all the same. It is written into the manifest.")

    def require_reason(self) -> None:
        """Pass silently if the reason is one.

        Raises:
            OverrideError: it is shorter than `SHORTEST_REASON`.
        """
        if len(self.reason.strip()) < SHORTEST_REASON:
            raise OverrideError(
                f"The override of {self.check} gives no reason ({self.reason!r}). It is published with the model: say "
                "in a sentence why the failure may be accepted."
            )


class Verdict(BaseModel):
    """All blocking checks behind one model, and the sha256 of the booster they speak for.

    `overrides` are those that were needed. `thresholds` are the limits that were not the shipped ones.
    """

    model_config = ConfigDict(frozen=True)

    model_sha256: str
    checks: tuple[CheckVerdict, ...]
    overrides: tuple[Override, ...] = ()
    thresholds: dict[str, Any] = {}

    @property
    def failed(self) -> tuple[CheckVerdict, ...]:
        """The checks that stand in the way: neither passed nor overridden."""
        named = {override.check for override in self.overrides}
        return tuple(c for c in self.checks if not c.passed and (c.final or c.key not in named))

    def with_overrides(self, overrides: Sequence[Override]) -> Verdict:
        """This verdict with those of the overrides that it needs.

        Raises:
            OverrideError: an override without a reason, or of a check that does not exist or cannot be overridden.
        """
        by_key = {check.key: check for check in self.checks}
        failed = {check.key: check for check in self.checks if not check.passed}
        for override in overrides:
            override.require_reason()
            if override.check not in by_key:
                raise OverrideError(
                    f"There is no blocking check {override.check!r} behind this model. They are: "
                    f"{', '.join(sorted(by_key))}."
                )
            if override.check in failed and failed[override.check].final:
                raise OverrideError(
                    f"{failed[override.check]} cannot be overridden: what it looked at means nothing, or it has not "
                    "looked yet. Materialise the asset with its checks again."
                )
        needed = tuple(override for override in overrides if override.check in failed)
        return self.model_copy(update={"overrides": needed})

    def require(self, model_sha256: str) -> None:
        """Pass silently if this verdict allows publishing the booster of that digest.

        Raises:
            NotVerifiedError: no check is in it, one failed, or it speaks for another booster.
        """
        if self.model_sha256 != model_sha256:
            raise NotVerifiedError(
                f"The verdict of the checks is for the model {self.model_sha256[:12]}, not for {model_sha256[:12]}. "
                "Run the asset checks on the model as it is now, then publish."
            )
        if self.failed or not self.checks:
            named = "; ".join(str(check) for check in self.failed) or "no check has run"
            raise NotVerifiedError(
                f"The model {model_sha256[:12]} may not be published: {named}. "
                "Fix what the checks report, materialise the assets again, then publish."
            )
