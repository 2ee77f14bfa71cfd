"""A mail server and a webhook on 127.0.0.1, real ones, that keep what they are sent and can be made to misbehave."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nba_ml_tests.ports import free_port

REFUSED = "nobody@example.org"
"""An address that the mail server does not deliver to."""

USER, PASSWORD = "sender", "a-secret-password"

HOST = "127.0.0.1"


@dataclass
class Mailbox:
    """What the mail server has taken, and where it listens."""

    port: int = 0
    messages: list[tuple[str, Message]] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for _, message in self.messages]

    # The library calls these by name, with what they need not look at.
    async def handle_RCPT(self, *args: Any) -> str:  # noqa: N802
        envelope, address = args[2], args[3]
        if address == REFUSED:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *args: Any) -> str:  # noqa: N802
        envelope = args[2]
        self.messages += [(to, message_from_bytes(envelope.content)) for to in envelope.rcpt_tos]
        return "250 taken"


def _log_in(*args: Any) -> AuthResult:
    data = args[4]
    right = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(certificate: Certificate | None = None, *, at_once: bool = False) -> Iterator[Mailbox]:
    """An SMTP server. With a certificate it wants STARTTLS and a login; `at_once` is TLS from the first byte."""
    box = Mailbox()
    context = certificate.server_context() if certificate else None
    options: dict[str, Any] = {}
    if context is not None:
        options = {"require_starttls": not at_once, "auth_required": True, "authenticator": _log_in}
        options |= {"auth_require_tls": not at_once}
        options |= {"ssl_context": context} if at_once else {"tls_context": context}
    controller = Controller(box, hostname=HOST, port=free_port(), **options)
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


@dataclass
class Hook:
    """What was posted to the webhook, and how it answers: a status, 'hang' or 'close'."""

    url: str = ""
    answer: int | str = 200
    posts: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def webhook(certificate: Certificate | None = None) -> Iterator[Hook]:
    """A webhook at a secret path."""
    hook = Hook()
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if hook.answer == "hang":
                stopped.wait(60)
                return
            if hook.answer == "close":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            assert isinstance(hook.answer, int)
            if hook.answer < 300:
                hook.posts.append(sent)  # before the answer, or a test could look too early
            self.send_response(hook.answer)
            if hook.answer == 429:
                self.send_header("Retry-After", "30")
            if hook.answer == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests look at `posts`."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    if certificate:
        server.socket = certificate.server_context().wrap_socket(server.socket, server_side=True)
    hook.url = f"{'https' if certificate else 'http'}://{HOST}:{server.server_port}/hooks/secret-token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


@contextmanager
def silent_server() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def wait_for(found: Any, within: float) -> bool:
    """Whether `found()` became true in time."""
    deadline = time.monotonic() + within
    while not found():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


@dataclass(frozen=True)
class Certificate:
    """A self-made certificate of 127.0.0.1, and its key."""

    file: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def make_certificate(folder: Path) -> Certificate:
    """Sign one for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    made.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
