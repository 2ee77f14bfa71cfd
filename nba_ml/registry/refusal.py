"""Why a model was not published: the blocking checks that it did not pass, as a table."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

DID_NOT_PASS = "did not pass"


class RefusedCheck(BaseModel):
    """A blocking check that a model did not pass.

    `value` and `required` are in words; `rows` is None if the check has not run. `found` is what the check reported.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    check: str
    month: str
    value: str
    required: str
    rows: int | None = None
    found: str = ""

    @property
    def key(self) -> str:
        """`xgboost_model.beats_last_10_average`."""
        return f"{self.asset}.{self.check}"

    @property
    def page(self) -> str:
        """The check's page in Dagster's web UI, from its root."""
        return f"/assets/{self.asset}?view=checks&checkDetail={self.check}"


class Refusal(BaseModel):
    """The verdict on a month's model that was not published: `checks` are those that it did not pass, at least one."""

    model_config = ConfigDict(frozen=True)

    month: str
    model_id: str
    checks: tuple[RefusedCheck, ...]

    @property
    def names(self) -> str:
        """The checks' names, each once."""
        return ", ".join(dict.fromkeys(check.check for check in self.checks))

    @property
    def table(self) -> list[dict[str, str]]:
        """A row for each check: check (with its month, if that is an earlier one), value, required, rows."""
        return [
            {
                "check": each.check if each.month == self.month else f"{each.check} of {each.month}",
                "value": each.value,
                "required": each.required,
                "rows": "" if each.rows is None else f"{each.rows:,}",
            }
            for each in self.checks
        ]

    def __str__(self) -> str:
        """One sentence."""
        return f"Not published: {self.model_id} {DID_NOT_PASS} {self.names}."
