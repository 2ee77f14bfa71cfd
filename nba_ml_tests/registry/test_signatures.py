"""A signature counts for the bytes, the role and the key that it was made with, and for nothing else."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.signing import key_id
from nba_ml.registry.signatures import SignatureError, Signer, create_key, verify
from nba_ml_tests.registry.signing import KeyRing

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DATA = b'{"a": 1}\n'


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.made_in(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signer(ring: KeyRing) -> Signer:
    return Signer.from_file(ring.files["publisher"], "publisher", ring.signing())


@pytest.fixture(scope="module")
def trusted(signer: Signer) -> dict[str, bytes]:
    return {key_id(signer.public): signer.public}


def test_what_is_signed_is_verified(signer: Signer, trusted: dict[str, bytes]) -> None:
    """Guards the one case in which a signature counts."""
    made = verify(signer.sign(DATA, AT), "publisher", DATA, trusted)
    assert (made.key, made.signed_at) == (key_id(signer.public), AT)


@given(st.data())
def test_a_changed_bit_is_never_accepted(signer: Signer, trusted: dict[str, bytes], data: st.DataObject) -> None:
    """Guards the signature's own object: of every changed bit, none is accepted as another time or key.

    A bit outside of what is signed may change, such as one of a space: then it is the same signature.
    """
    document = signer.sign(DATA, AT)
    bit = data.draw(st.integers(0, len(document) * 8 - 1))
    changed = bytearray(document)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        made = verify(bytes(changed), "publisher", DATA, trusted)
    except SignatureError:
        return
    assert (made.key, made.signed_at) == (key_id(signer.public), AT)


@given(
    st.binary(max_size=600)
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(json.dumps).map(str.encode)
)
def test_anything_else_is_refused(trusted: dict[str, bytes], document: bytes) -> None:
    """Guards against an exception of another kind, which no reader expects."""
    with pytest.raises(SignatureError):
        verify(document, "publisher", DATA, trusted)


@pytest.mark.parametrize("field", ["role", "sha256", "signed_at", "key", "signature", "format_version"])
@pytest.mark.parametrize("value", [None, 1, "", "a", [], {}, "2026-01-02T03:04:06+00:00", "2026-01-02"], ids=repr)
def test_a_field_of_another_value_is_refused(
    signer: Signer, trusted: dict[str, bytes], field: str, value: object
) -> None:
    """Guards each field, also against values of other types."""
    content = json.loads(signer.sign(DATA, AT))
    if content[field] == value:
        value = 2
    with pytest.raises(SignatureError):
        verify(json.dumps({**content, field: value}).encode(), "publisher", DATA, trusted)


def test_other_bytes_another_role_and_another_key_are_refused(signer: Signer, trusted: dict[str, bytes]) -> None:
    """Guards the three things that a signature is about."""
    document = signer.sign(DATA, AT)
    with pytest.raises(SignatureError, match="other bytes"):
        verify(document, "publisher", DATA + b" ", trusted)
    with pytest.raises(SignatureError, match="not of a promoter"):
        verify(document, "promoter", DATA, trusted)
    with pytest.raises(SignatureError, match="not a trusted key"):
        verify(document, "publisher", DATA, {})
    (key,) = trusted
    with pytest.raises(SignatureError, match=f"was not made by the key {key}"):
        verify(document, "publisher", DATA, {key: ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()})


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o640, 0o602, 0o644, 0o777], ids=oct)
def test_a_key_file_that_is_open_to_others_is_refused(ring: KeyRing, tmp_path: Path, mode: int) -> None:
    """Guards a private key that another user of the machine can read or replace."""
    file = tmp_path / "key.pem"
    file.write_bytes(ring.files["publisher"].read_bytes())
    file.chmod(mode)
    with pytest.raises(SettingsError, match=rf"can be read or changed by others\. Run: chmod 600 {file}"):
        Signer.from_file(file, "publisher", ring.signing())
    file.chmod(0o400)
    assert Signer.from_file(file, "publisher", ring.signing()).role == "publisher"


def test_a_key_that_kubernetes_mounts_is_accepted(
    ring: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards secrets with an fsGroup: a file of another owner, which our group may read, behind a link."""
    file = tmp_path / "..data"
    file.write_bytes(ring.files["publisher"].read_bytes())
    file.chmod(0o440)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    link = tmp_path / "key.pem"
    link.symlink_to(file)
    assert Signer.from_file(link, "publisher", ring.signing()).role == "publisher"


def test_a_file_that_is_no_key_of_the_role_is_refused(ring: KeyRing, tmp_path: Path) -> None:
    """Guards every other file that the setting may name, at the start and not when a model is to be signed."""

    def refused(expected: str, data: bytes | None) -> None:
        file = tmp_path / "key.pem"
        if data is not None:
            file.unlink(missing_ok=True)
            file.write_bytes(data)
            file.chmod(0o600)
        with pytest.raises(SettingsError, match=expected):
            Signer.from_file(file, "publisher", ring.signing())

    def pem(
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, passphrase: str = ""
    ) -> bytes:
        how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)

    refused("NBA_ML_PUBLISHER_KEY .* cannot be read: No such file", None)
    refused("not a private key in PEM", b"")
    refused("not a private key in PEM", b"\xff" * 100)
    refused("larger|bytes", b"x" * 5000)
    refused("not a private key in PEM", pem(ed25519.Ed25519PrivateKey.generate(), "secret"))
    refused("not an Ed25519 key", pem(ec.generate_private_key(ec.SECP256R1())))
    refused("nobody would accept", pem(ed25519.Ed25519PrivateKey.generate()))
    refused("nobody would accept", ring.files["promoter"].read_bytes())
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match="Is a directory"):
        Signer.from_file(tmp_path / "folder", "publisher", ring.signing())


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Guards the only copy of a key, and a name that leads through a link."""
    file = tmp_path / "key.pem"
    create_key(file)
    before = file.read_bytes()
    (tmp_path / "link").symlink_to(file)
    for name in ("key.pem", "link"):
        with pytest.raises(SettingsError, match="never overwritten"):
            create_key(tmp_path / name)
    assert file.read_bytes() == before
    with pytest.raises(SettingsError, match="cannot be written: No such file"):
        create_key(tmp_path / "nowhere" / "key.pem")
