"""The settings of signatures: what cannot work is refused, by name, before anything is read or written."""

from __future__ import annotations

import base64

import pytest

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.signing import Signing, key_text

ONE, TWO = bytes(range(32)), bytes(range(1, 33))
BOTH = f"{key_text('publisher', ONE)},{key_text('promoter', TWO)}"


@pytest.mark.parametrize("value", [None, "", "  "], ids=["unset", "empty", "blank"])
def test_without_keys_no_signature_is_required(value: str | None) -> None:
    """Guards the shipped state, and containers that set every variable and leave it empty."""
    environ = {} if value is None else {"NBA_ML_TRUSTED_KEYS": value, "NBA_ML_PUBLISHER_KEY": ""}
    assert Signing.from_environment(environ) is None


def test_several_keys_of_a_role_are_trusted_once_each() -> None:
    """Guards the list that a rotation needs, as people write it over lines."""
    text = f" {BOTH},\n {key_text('publisher', TWO[::-1])}, {key_text('publisher', ONE)},"
    found = Signing.from_environment({"NBA_ML_TRUSTED_KEYS": text, "NBA_ML_SIGNATURE_DAYS": "7"})
    assert found == Signing({"publisher": (ONE, TWO[::-1]), "promoter": (TWO,)}, {}, 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (key_text("publisher", ONE), "no key of a promoter"),
        (key_text("promoter", ONE), "no key of a publisher"),
        (f"{key_text('publisher', ONE)},{key_text('promoter', ONE)}", "gives one key both roles"),
        (base64.b64encode(ONE).decode(), "has the entry"),
        (f"{BOTH},reader:{base64.b64encode(ONE).decode()}", "has the entry 'reader:"),
        (f"{BOTH},publisher:{base64.b64encode(ONE[:31]).decode()}", "has the entry"),
        (BOTH.replace("A", "é"), "has the entry"),
        (",", "no key of a publisher or a promoter"),
    ],
    ids=["no promoter", "no publisher", "one for both", "no role", "other role", "short", "not ascii", "only a comma"],
)
def test_keys_that_cannot_work_are_refused(text: str, expected: str) -> None:
    """Guards a list with which everything, or nothing, would be accepted."""
    with pytest.raises(SettingsError, match=expected):
        Signing.from_environment({"NBA_ML_TRUSTED_KEYS": text})


@pytest.mark.parametrize("days", ["0", "-1", "3651", "a week", "1.5", "inf"])
def test_days_that_cannot_work_are_refused(days: str) -> None:
    """Guards a channel that never expires, or that no worker accepts."""
    with pytest.raises(SettingsError, match=f"NBA_ML_SIGNATURE_DAYS is '{days}'"):
        Signing.from_environment({"NBA_ML_TRUSTED_KEYS": BOTH, "NBA_ML_SIGNATURE_DAYS": days})


def test_a_private_key_without_trusted_keys_is_refused() -> None:
    """Guards a publisher who believes that what he signs is checked."""
    with pytest.raises(SettingsError, match="NBA_ML_PROMOTER_KEY is set and NBA_ML_TRUSTED_KEYS is not"):
        Signing.from_environment({"NBA_ML_PROMOTER_KEY": "/run/key.pem"})
