"""The results of the asset checks, bound to the bytes that they checked.

Dagster's blocking checks only apply within their own run. The publisher therefore requires its own verdict: every
blocking check passed for exactly the digests that are published.

A person may override a named check, with a reason that is published with the model. There is no option to override all
failures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nba_ml.contract.errors import NotVerifiedError, OverrideError
from nba_ml.contract.text import printable

SHORTEST_REASON = 10
"""Characters; excludes reasons such as 'ok'."""


class CheckVerdict(BaseModel):
    """The result of a blocking check on one partition of an asset.

    `subject` is the digest (Dagster data version) of the checked materialisation. `found` says why a check did not
    pass. A `final` failure cannot be overridden: the asset is unusable, or the check has not run.
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
    """A person's decision to publish a model although a named check failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str = Field(description="The check, as asset.check: xgboost_model.beats_last_10_average.")
    reason: Annotated[str, AfterValidator(printable)] = Field(
        description="Why it may be published nevertheless. It is written into the manifest."
    )

    def require_reason(self) -> None:
        """Raise OverrideError if the reason is shorter than `SHORTEST_REASON`."""
        if len(self.reason.strip()) < SHORTEST_REASON:
            raise OverrideError(
                f"The override of {self.check} has the reason {self.reason!r}, shorter than {SHORTEST_REASON} "
                "characters. It is published with the model: explain in a sentence why the failure is acceptable."
            )


class Verdict(BaseModel):
    """All blocking checks of a model, and the sha256 of the booster that they apply to.

    `overrides` are those that were needed. `thresholds` are the limits that differ from the shipped ones.
    """

    model_config = ConfigDict(frozen=True)

    model_sha256: str
    checks: tuple[CheckVerdict, ...]
    overrides: tuple[Override, ...] = ()
    thresholds: dict[str, Any] = {}

    @property
    def failed(self) -> tuple[CheckVerdict, ...]:
        """The checks that prevent publication: neither passed nor overridden."""
        named = {override.check for override in self.overrides}
        return tuple(c for c in self.checks if not c.passed and (c.final or c.key not in named))

    def with_overrides(self, overrides: Sequence[Override]) -> Verdict:
        """This verdict with the overrides that it needs.

        Raises:
            OverrideError: an override has no reason, or its check does not exist or cannot be overridden.
        """
        by_key = {check.key: check for check in self.checks}
        failed = {check.key: check for check in self.checks if not check.passed}
        for override in overrides:
            override.require_reason()
            if override.check not in by_key:
                raise OverrideError(
                    f"There is no blocking check {override.check!r} for this model. The blocking checks are: "
                    f"{', '.join(sorted(by_key))}."
                )
            if override.check in failed and failed[override.check].final:
                raise OverrideError(
                    f"{failed[override.check]} cannot be overridden: the asset is unusable, or the check has not run. "
                    "Materialise the asset with its checks again."
                )
        needed = tuple(override for override in overrides if override.check in failed)
        return self.model_copy(update={"overrides": needed})

    def require(self, model_sha256: str) -> None:
        """Require that this verdict allows publishing the booster with that digest.

        Raises:
            NotVerifiedError: it contains no check, a check failed, or it applies to another booster.
        """
        if self.model_sha256 != model_sha256:
            raise NotVerifiedError(
                f"The verdict of the checks is for the model {self.model_sha256[:12]}, not for {model_sha256[:12]}. "
                "Run the asset checks on the current model, then publish."
            )
        if self.failed or not self.checks:
            named = "; ".join(str(check) for check in self.failed) or "no check has run"
            raise NotVerifiedError(
                f"The model {model_sha256[:12]} may not be published: {named}. "
                "Fix what the checks report, materialise the assets again, then publish."
            )
