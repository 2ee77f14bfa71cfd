"""An object store in a bucket of Google Cloud Storage.

What belongs here: how Cloud Storage keeps the promises of `storage.objects`. What its refusals mean for a user is the
subject of `cloud_errors`. No Dagster, and no look at the environment: finding credentials, or the emulator that
`STORAGE_EMULATOR_HOST` names, is the Google library's business.

- `create` and `swap` send the generation that they expect with the bytes, and Cloud Storage decides. A
  request whose answer was lost is sent again with the same expectation; if it is refused then, the reason may
  be our own first request. Each upload therefore carries a random token in the object's metadata: the token
  that is found there says whose bytes they are, whatever the bytes.
- Up to 8 MiB the library sends an object in one request, above that in several (`upload_from_string` decides
  by the size, and has no public switch). Cloud Storage keeps both promises either way; an emulator may keep
  them in the first case only.
- Checksums are the library's: sent with an upload, for Cloud Storage to compare, and compared after every
  download. A download that broke off starts anew, because the checksum of a continued one is not compared.
"""

from __future__ import annotations

import http.client
import io
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import requests
import urllib3
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import Blob, Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from nba_ml.contract.errors import PublicationError, SettingsError
from nba_ml.contract.limits import object_limit
from nba_ml.storage.cloud_errors import Place, is_policy, is_rate_limit, not_logged_in, refusal
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, StoredObject, check_name, check_prefix

SCHEME = "gs://"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_TOKEN = "nba-ml-upload"
_LONGEST_PAUSE = 16.0
_FAILURES = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    DataCorruption,
    InvalidResponse,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,  # of which all errors of requests are
)
"""What a call of the library can end in, other than by a mistake in this module."""

Result = TypeVar("Result")


class CloudStore:
    """The promises of `ObjectStore` under `gs://bucket/prefix`.

    All methods raise SettingsError where the bucket is not there or nobody is logged in, and PublicationError
    where Cloud Storage refuses, cannot be reached, or delivers damaged bytes; the message says which.

    Args:
        bucket: its name; it is neither made nor changed.
        prefix: what the names lie under, without a slash at either end; '' for the whole bucket.
        client: with credentials that may get, list, create and delete objects (`roles/storage.objectUser`);
            `roles/storage.objectViewer` is enough to read.
        deadline: seconds for which a request is sent again after failures that pass. A call of ours makes one
            request, or a second one to find out what a refusal means.
        request_timeout: seconds without a sign of life after which a request counts as failed; it may run beyond
            the deadline by that. Over plain HTTP it bounds the sending of all the bytes: leave room for a slow line.
        first_pause: seconds at most before the second try. What is most doubles with every try, up to 16.
        billing_project: pays for the requests, where the bucket has its requesters pay.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        client: Client,
        deadline: float = 120.0,
        request_timeout: float = 60.0,
        first_pause: float = 0.5,
        billing_project: str | None = None,
    ) -> None:
        self.root = f"{SCHEME}{bucket}/{prefix}".rstrip("/")
        self._folder = f"{prefix}/" if prefix else ""
        self._client = client
        self._bucket = client.bucket(bucket, user_project=billing_project)
        self._bucket_seen = False
        self._deadline = deadline
        self._timeout = request_timeout
        self._first_pause = first_pause
        self._again = DEFAULT_RETRY.with_timeout(deadline).with_delay(first_pause, _LONGEST_PAUSE, 2.0)

    def within(self, seconds: float) -> CloudStore:
        """The same objects, for a caller who would rather hear of a failure soon, and who asks again later anyway.

        Deadline and `request_timeout` are at most so many seconds: a call that nobody answers fails after that, one
        that is answered with errors after twice that at the latest.
        """
        return CloudStore(
            self._bucket.name,
            self._folder.removesuffix("/"),
            self._client,
            deadline=min(self._deadline, seconds),
            request_timeout=min(self._timeout, seconds),
            first_pause=self._first_pause,
            billing_project=self._bucket.user_project,
        )

    def uri(self, name: str) -> str:
        """`gs://bucket/prefix/name`, as Google's own tools take it: nothing is percent-encoded."""
        return f"{SCHEME}{self._bucket.name}/{self._object(name)}"

    def read(self, name: str) -> StoredObject | None:
        """Bytes and generation from one answer, so that they belong together whoever writes meanwhile."""
        key = self._object(name)

        def download() -> StoredObject:
            blob = self._bucket.blob(key)
            received = _Bounded(self.uri(name), object_limit(name))
            blob.download_to_file(received, timeout=self._timeout, retry=None)
            return StoredObject(received.getvalue(), _generation_told(blob))

        with self._explained("read", self.uri(name)):
            try:
                return self._persistently(download)
            except api.NotFound:
                self._require_bucket()
                return None

    def create(self, name: str, data: bytes) -> str:
        """Upload with `if_generation_match=0`: only where nothing is.

        Its own upload, sent again after a lost answer, is no ObjectExistsError.
        """
        with self._explained("create", self.uri(name)):
            try:
                return self._upload(name, data, 0)
            except _OtherGeneration:
                raise ObjectExistsError(name, self.uri(name)) from None

    def swap(self, name: str, data: bytes, generation: str) -> str:
        """Upload with `if_generation_match`, where the object is of that generation still.

        Its own upload, sent again after a lost answer, is no lost race, unless someone else has swapped the
        object once more by then: that is reported as GenerationMismatchError, and reading again shows where
        things stand.
        """
        # Generations are positive numbers. 0 would ask for the absence of the object, which is `create`'s to ask.
        possible = generation.isdecimal() and int(generation) > 0
        with self._explained("swap", self.uri(name)):
            try:
                if not possible:
                    raise _OtherGeneration(self._generation(self._state(name)))
                return self._upload(name, data, int(generation))
            except _OtherGeneration as other:
                raise GenerationMismatchError(name, self.uri(name), generation, other.found) from None

    def write(self, name: str, data: bytes) -> None:
        """Upload over whatever is there. Of several writers at once, one is the last."""
        with self._explained("write", self.uri(name)):
            self._upload(name, data, None)

    def delete(self, name: str) -> None:
        """Delete the object; sent again after a lost answer, it finds none, which is as well."""
        key = self._object(name)
        with self._explained("delete", self.uri(name)):
            try:
                self._persistently(lambda: self._bucket.blob(key).delete(timeout=self._timeout, retry=None))
            except api.NotFound:
                self._require_bucket()

    def names(self, prefix: str) -> list[str]:
        """Listed page by page. Left out: what no store would take as a name, such as a console's folder marks."""
        check_prefix(prefix)

        def listed() -> list[str]:
            found = self._client.list_blobs(
                self._bucket,
                prefix=self._folder + prefix,
                fields="items(name),nextPageToken",
                timeout=self._timeout,
                retry=None,
            )
            return [blob.name.removeprefix(self._folder) for blob in found]

        with self._explained("list", f"{self.root}/{prefix}"):
            return sorted(filter(_is_name, self._persistently(listed)))

    def _object(self, name: str) -> str:
        check_name(name)
        return self._folder + name

    def _persistently(self, call: Callable[[], Result]) -> Result:
        """The call's result, however many tries it takes until the deadline.

        Around whole calls and not, as the library would have it, inside them: see the module on downloads.
        """

        def once() -> Result:
            try:
                return call()
            except api.Forbidden as error:
                if is_rate_limit(error):
                    raise _again(api.TooManyRequests, error.message, error.response) from error
                raise

        result: Result = self._again(once)()
        return result

    def _upload(self, name: str, data: bytes, expected: int | None) -> str:
        """Put the object there, where the expected generation is (0: none; None: any), and return the new one.

        Safe to send again, because the expectation is no longer met once it was carried out.

        Raises:
            _OtherGeneration: it is not there, and this upload is not the reason.
        """
        key, token = self._object(name), secrets.token_hex(16)

        def upload() -> str:
            blob = self._bucket.blob(key)
            blob.metadata = {_TOKEN: token}
            blob.cache_control = "no-store"  # else objects of a public bucket may be an hour old where they are read
            with self._upload_restarted():
                blob.upload_from_string(
                    data,
                    content_type="application/json" if name.endswith(".json") else "application/octet-stream",
                    if_generation_match=expected,
                    timeout=self._timeout,
                    retry=None,
                )
            return _generation_told(blob)

        try:
            return self._persistently(upload)
        except api.PreconditionFailed as refused:
            if is_policy(refused):
                raise
            found = self._state(name)
            if found is not None and (found.metadata or {}).get(_TOKEN) == token:
                return str(found.generation)
            raise _OtherGeneration(self._generation(found)) from None

    @contextmanager
    def _upload_restarted(self) -> Iterator[None]:
        """Turn what ends an upload's session into an error that is retried: a retry begins a new session.

        Cloud Storage may end a session at any time, and answers 404 or 410 to its next part. An answer of which only
        the beginning arrives says no more than a lost one.
        """
        try:
            yield
        except api.GoogleAPICallError as ended:
            if ended.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise
            self._require_bucket()
            raise _again(api.ServiceUnavailable, f"the upload's session has ended ({ended.code:d})") from ended
        except requests.JSONDecodeError as cut:
            if not cut.doc.lstrip().startswith("{"):  # a login page's HTML
                raise
            raise _again(api.ServiceUnavailable, "the answer to the upload was cut short") from cut

    def _state(self, name: str) -> Blob | None:
        """The object's generation and metadata, without its bytes; None if there is none."""
        key = self._object(name)
        return self._persistently(lambda: self._bucket.get_blob(key, timeout=self._timeout, retry=None))

    @staticmethod
    def _generation(found: Blob | None) -> str | None:
        return None if found is None else str(found.generation)

    def _require_bucket(self) -> None:
        """Tell 'no such object' from 'no such bucket': Cloud Storage answers 404 to both, a listing only to one.

        Raises:
            google.api_core.exceptions.NotFound: there is no such bucket.
        """
        if not self._bucket_seen:
            self._persistently(
                lambda: list(self._client.list_blobs(self._bucket, max_results=1, timeout=self._timeout, retry=None))
            )
            self._bucket_seen = True

    @contextmanager
    def _explained(self, action: str, uri: str) -> Iterator[None]:
        """Turn what the library raises into one paragraph for the user."""
        try:
            yield
        except _FAILURES as error:
            place = Place(self.root, self._bucket.name, self._client.api_endpoint, self._deadline)
            raise refusal(action, uri, error, place) from error


def open_cloud_store(uri: str, client: Client | None = None, billing_project: str | None = None) -> CloudStore:
    """The store under a root such as `gs://bucket/prefix` or `gs://bucket`. Asks nothing of Cloud Storage yet.

    Args:
        uri: what the settings say.
        client: None for one of our own. With `STORAGE_EMULATOR_HOST` set, the library makes it without
            credentials. It needs no project: none of our calls is about one.
        billing_project: for a bucket whose requesters pay.

    Raises:
        SettingsError: `uri` is no such root, or there are no credentials.
    """
    bucket, _, prefix = uri.removeprefix(SCHEME).partition("/")
    prefix = prefix.removesuffix("/")
    if not uri.startswith(SCHEME) or not _BUCKET.fullmatch(bucket) or (prefix and not _is_name(prefix)):
        raise SettingsError(
            f"'{uri}' is not a valid Cloud Storage root. Give gs://bucket/prefix or gs://bucket: a bucket name of "
            "lowercase letters, digits, '-', '_' and '.', then folders, none of them empty or beginning with a dot."
        )
    if client is None:
        try:
            client = Client(project=None)
        except (auth.GoogleAuthError, ValueError, OSError) as error:
            raise not_logged_in(uri, error) from error
    return CloudStore(bucket, prefix, client, billing_project=billing_project)


class _Bounded(io.BytesIO):
    """What a download is written to; raises PublicationError as soon as it is more than is allowed."""

    def __init__(self, uri: str, most: int) -> None:
        super().__init__()
        self._uri = uri
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._most:
            raise PublicationError(
                f"{self._uri} has more than the {self._most:,} bytes that are read of an object of that name. "
                "Find out what wrote it, and restore the object."
            )
        return super().write(data)


class _OtherGeneration(Exception):  # noqa: N818 - a finding on its way to becoming an error, or not
    """The object is not of the generation that an upload expected; `found` is the one it is of, if it is there."""

    def __init__(self, found: str | None) -> None:
        super().__init__(found)
        self.found = found


def _again(kind: type[api.GoogleAPICallError], message: str, response: Any = None) -> api.GoogleAPICallError:
    """An error that the library retries, in place of one that it does not."""
    return kind(message, response=response)


def _generation_told(blob: Blob) -> str:
    """The object's generation, which every answer of Cloud Storage to a download or an upload states.

    Raises:
        http.client.HTTPException: this one does not. A login page of the network says 200 too, and its HTML is not
            the object.
    """
    if blob.generation is None:
        raise http.client.HTTPException("200 without an object's generation, which is not how Cloud Storage answers")
    return str(blob.generation)


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except PublicationError:
        return False
    return True
