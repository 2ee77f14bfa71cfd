"""The verdict: what it demands, and what an override can and cannot do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import NotVerifiedError, OverrideError
from nba_ml.registry.verdict import CheckVerdict, Override, Verdict

SHA = "ab" * 32
REASON = "The line was off for a week, and we know why."


def check(name: str, *, passed: bool = True, final: bool = False, month: str = "2022-01") -> CheckVerdict:
    found = "" if passed else f"{name} was 7 over 10 rows"
    return CheckVerdict(
        asset="xgboost_model", check=name, month=month, passed=passed, subject=SHA, found=found, final=final
    )


def verdict(*checks: CheckVerdict) -> Verdict:
    return Verdict(model_sha256=SHA, checks=checks)


def override(name: str, reason: str = REASON) -> Override:
    return Override(check=f"xgboost_model.{name}", reason=reason)


verdicts = st.lists(
    st.builds(check, st.sampled_from(["a", "b", "c", "d"]), passed=st.booleans(), final=st.booleans()),
    min_size=1,
    unique_by=lambda each: each.check,
).map(lambda checks: verdict(*checks))


@given(verdicts, st.sets(st.sampled_from(["a", "b", "c", "d"])))
def test_only_what_passed_or_is_overridden_by_name_may_pass(given_verdict: Verdict, named: set[str]) -> None:
    """Guards against any way through the gate but the two: a pass, or that check's own override."""
    overrides = tuple(override(name) for name in sorted(named))
    judged = given_verdict.model_copy(update={"overrides": overrides})
    allowed = all(c.passed or (c.check in named and not c.final) for c in given_verdict.checks)
    if allowed:
        judged.require(SHA)
    else:
        with pytest.raises(NotVerifiedError) as refused:
            judged.require(SHA)
        for each in given_verdict.checks:
            open_ = each.passed or (each.check in named and not each.final)
            assert (str(each) in str(refused.value)) is not open_


def test_a_verdict_of_another_model_or_of_nothing_refuses() -> None:
    """Guards against a verdict that speaks for other bytes, and against one that nobody spoke."""
    with pytest.raises(NotVerifiedError, match="not for cdcdcdcdcdcd"):
        verdict(check("a")).require("cd" * 32)
    with pytest.raises(NotVerifiedError, match="no check has run"):
        verdict().require(SHA)


def test_overrides_that_are_not_needed_are_not_written_down() -> None:
    """Guards against a manifest that says a check was overridden which had passed."""
    judged = verdict(check("a"), check("b", passed=False)).with_overrides([override("a"), override("b")])
    assert [each.check for each in judged.overrides] == ["xgboost_model.b"]
    judged.require(SHA)


@pytest.mark.parametrize(
    ("given_override", "said"),
    [
        (override("a", "no"), "shorter than 10 characters"),
        (override("a", " " * 50), "shorter than 10 characters"),
        (override("z"), "no blocking check 'xgboost_model.z'"),
        (Override(check="*", reason=REASON), "no blocking check"),
        (override("c"), r"c on xgboost_model of 2022-01 \(c was 7 over 10 rows\) cannot be overridden"),
    ],
)
def test_an_override_must_name_a_check_that_can_be_overridden(given_override: Override, said: str) -> None:
    """Guards against a switch for everything, a slip of the pen that opens nothing, and a reason that is none."""
    judged = verdict(check("a", passed=False), check("c", passed=False, final=True))
    with pytest.raises(OverrideError, match=said):
        judged.with_overrides([given_override])


def test_a_reason_has_ten_characters_and_a_failure_can_be_overridden_unless_it_is_final() -> None:
    judged = verdict(CheckVerdict(asset="xgboost_model", check="a", month="2022-01", passed=False, subject=SHA))
    for reason, good in (("x" * 9, False), (f"  {'x' * 9}  ", False), ("x" * 10, True)):
        if good:
            judged.with_overrides([override("a", reason)]).require(SHA)
        else:
            with pytest.raises(OverrideError, match="shorter than 10 characters"):
                judged.with_overrides([override("a", reason)])
    with pytest.raises(NotVerifiedError, match=r"a on xgboost_model of 2022-01 \(failed\)"):
        judged.require(SHA)
