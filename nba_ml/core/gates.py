"""What the asset checks said, bound to the bytes they looked at.

Dagster's blocking checks hold only inside their own run. The publisher therefore demands a
verdict of its own: every blocking check, passed, for exactly the digests being published.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from nba_ml.core.errors import NotVerifiedError


class CheckVerdict(BaseModel):
    """One blocking check's result on one partition of one asset.

    `subject` is the digest (Dagster data version) of the materialisation that the check looked at.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    check: str
    month: str
    passed: bool
    subject: str


class Verdict(BaseModel):
    """All blocking checks behind one model, and the sha256 of the booster they speak for."""

    model_config = ConfigDict(frozen=True)

    model_sha256: str
    checks: tuple[CheckVerdict, ...]

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
        failed = [check for check in self.checks if not check.passed]
        if failed or not self.checks:
            named = ", ".join(f"{c.check} on {c.asset} of {c.month}" for c in failed) or "no check has run"
            raise NotVerifiedError(
                f"The model {model_sha256[:12]} may not be published: {named}. "
                "Mend what the checks name, materialise it again, and publish then."
            )
