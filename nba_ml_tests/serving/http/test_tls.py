"""HTTPS: what is served, which files are refused, and how they are renewed."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from nba_ml.cli.serve import serve
from nba_ml.contract.errors import SettingsError
from nba_ml.serving.http import tls as tls_module
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.service import app_of
from nba_ml.serving.http.tls import Tls
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.mail import Certificate, make_certificate, wait_for
from nba_ml_tests.serving.client import JSON, running
from nba_ml_tests.serving.rules import MONTHS, ROW, ours, point, rule_predictor, state_of


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


def tls_of(certificate: Certificate) -> Tls:
    tls = Tls.of(str(certificate.file), str(certificate.key))
    assert tls is not None
    return tls


@pytest.mark.slow
def test_predictions_by_https(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Certificate) -> None:
    """Guards the whole way: the limits of connections work on an encrypted one, and none is answered in the clear."""
    store = DirectoryStore(tmp_path / "store")
    point(store, state_of(7, ours(MONTHS[0])))
    app = app_of(rule_predictor(monkeypatch, store), channel=None, refresh_seconds=60.0, limits=Limits())
    trusted = ssl.create_default_context(cafile=str(certificate.file))
    with running(app, tls_of(certificate)) as client:
        connection = http.client.HTTPSConnection("127.0.0.1", client.port, context=trusted, timeout=60)
        for _ in range(2):
            connection.request("POST", "/predict", json.dumps(ROW), JSON)
            answer = connection.getresponse()
            assert (answer.status, "predicted_points" in json.loads(answer.read())) == (200, True)
        connection.request("POST", "/predict", json.dumps(ROW), {**JSON, "X-Long": "x" * 20_000})
        assert connection.getresponse().status == 431
        connection.close()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            client.get("/health")


def test_files_that_cannot_serve_are_named_before_anything_starts(tmp_path: Path, certificate: Certificate) -> None:
    """Guards against a service that ends with a traceback, and against one that waits for a password."""
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    locked = tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
    kind, encryption = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, encryption))
    text = tmp_path / "text.pem"
    text.write_bytes(b"\xff no PEM")
    absent = tmp_path / "absent.pem"
    for files, said in (
        ((certificate.file, other.key), "cannot be used (KEY_VALUES_MISMATCH)"),
        ((text, certificate.key), f"The certificate {text} and the key {certificate.key} cannot be used"),
        ((certificate.file, absent), f"{absent} cannot be read: No such file or directory"),
        ((tmp_path, certificate.key), f"{tmp_path} cannot be read: Is a directory"),
        ((certificate.file, locked), f"The key {locked} cannot be used: it is encrypted"),
    ):
        ended = CliRunner().invoke(serve, ["--tls-certificate", str(files[0]), "--tls-key", str(files[1])])
        assert ended.exit_code == 2
        assert said in ended.stderr
    with pytest.raises(SettingsError, match="belong together"):
        Tls.of(str(certificate.file), None)


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards against a service that has to be started again every 60 days, or that a half-written file ends."""
    monkeypatch.setattr(tls_module, "RENEWAL_SECONDS", 0.02)
    caplog.set_level("INFO")
    tls = tls_of(certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)

    def served() -> bytes | None:
        """The certificate that a client is shown."""
        client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
        trusting = ssl._create_unverified_context()
        client = trusting.wrap_bio(client_in, client_out)
        server = context.wrap_bio(server_in, server_out, server_side=True)
        for _ in range(4):
            for side, read_from, write_to in ((client, client_out, server_in), (server, server_out, client_in)):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                write_to.write(read_from.read())
        return client.getpeercert(binary_form=True)

    first = served()
    with tls.renewed(context):
        certificate.key.write_bytes(b"half")
        assert wait_for(lambda: "certificate not renewed" in caplog.text, within=60)
        assert served() == first
        (tmp_path / "other").mkdir()
        other = make_certificate(tmp_path / "other")
        shutil.copy(other.key, certificate.key)
        shutil.copy(other.file, certificate.file)
        assert wait_for(lambda: "certificate renewed" in caplog.text, within=60)
        assert served() == ssl.PEM_cert_to_DER_cert(other.file.read_text()) != first


def test_files_that_are_gone_while_they_are_read_are_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards the next renewal: the thread ended at an error of the system, or took the same files for known."""
    monkeypatch.setattr(tls_module, "RENEWAL_SECONDS", 0.02)
    caplog.set_level("INFO")

    class Disturbed(ssl.SSLContext):
        """The key is away while the files are loaded the second time, and back afterwards, unchanged."""

        loads = 0

        def load_cert_chain(self, *files: Any) -> None:
            self.loads += 1
            if self.loads != 2:
                return super().load_cert_chain(*files)
            aside = certificate.key.rename(tmp_path / "aside.pem")
            try:
                return super().load_cert_chain(*files)
            finally:
                aside.rename(certificate.key)

    tls = tls_of(certificate)
    context = Disturbed(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    with tls.renewed(context):
        other.key.rename(certificate.key)
        other.file.rename(certificate.file)
        assert wait_for(lambda: "certificate renewed" in caplog.text, within=60)
    failures = [record.fields.get("failure", "") for record in caplog.records if hasattr(record, "fields")]
    assert any("(No such file or directory)" in each for each in failures)
    assert context.loads == 3
