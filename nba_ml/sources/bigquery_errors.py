"""What BigQuery refuses, or what answers in its place: whether to ask again, and what to tell the user.

Goes by the reason that BigQuery gives, and not by the library's exception: the same reason comes as several of them,
as an HTTP error or as a job that failed, and one that the library does not know becomes an internal error (500).
The reasons are those of https://cloud.google.com/bigquery/docs/error-messages.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from google.api_core import exceptions as gexc
from google.auth import exceptions as auth_exceptions

from nba_ml.contract.errors import NbaMlError, SettingsError, SourceDataError

TRANSIENT = (
    gexc.TooManyRequests,
    gexc.InternalServerError,
    gexc.BadGateway,
    gexc.ServiceUnavailable,
    gexc.GatewayTimeout,
    gexc.Aborted,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    auth_exceptions.TransportError,
    ConnectionError,
    TimeoutError,
)
"""What may go away by itself, where BigQuery gives no reason that says more. See `is_transient`."""

_AGAIN = frozenset(
    {
        "rateLimitExceeded",
        "jobRateLimitExceeded",
        "backendError",
        "jobBackendError",
        "internalError",
        "jobInternalError",
    }
)
"""Reasons that go away by themselves, whatever they come as: a rate limit is a 403 too."""

_LIMIT = "bytesBilledLimitExceeded"
_STOPPED = frozenset({"stopped", "timeout"})
_REMEDIES: Mapping[str, str] = {
    "quotaExceeded": "A quota of the project is used up, which no permission mends. Wait until it is renewed, or have "
    "it raised (IAM & Admin, Quotas in the console); then run it again.",
    **dict.fromkeys(
        ("billingNotEnabled", "BILLING_DISABLED"),
        "The project has no billing: link it to a billing account, then run it again.",
    ),
    **dict.fromkeys(
        ("accessNotConfigured", "SERVICE_DISABLED"),
        "An API is switched off in the project. Switch both on: `gcloud services enable bigquery.googleapis.com "
        "bigquerystorage.googleapis.com`; after some minutes, run it again.",
    ),
}
"""Reasons that come as "forbidden" and are not for want of a role, with what to do."""

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's word; the exception around it is that of a connection that failed."""

_DENIED = (None, "accessDenied", "forbidden", "insufficientPermissions", "IAM_PERMISSION_DENIED")
_NO_QUERY = (None, "invalidQuery", "invalid")

_ANSWERS = ("jobReference", "job")
"""Every answer to the calls that a query makes has one of them: a job, its results, its end."""

_HANDED_ON = (401, 408, 429, 500, 502, 503, 504)
"""Statuses that a server in front of BigQuery may give in its own words, and that the library understands as such."""


class NotBigQueryError(Exception):
    """Something answered, and it was not BigQuery: a network's log-in page, a proxy, another server's port."""


class StillRunningError(Exception):
    """The deadline came before the query's end. Not asked again: it would be too late for that one too."""


def reason(error: BaseException) -> str | None:
    """BigQuery's own word for what went wrong, such as `quotaExceeded`; None if the error has none."""
    if not isinstance(error, gexc.GoogleAPICallError):
        return None
    given = next((each["reason"] for each in error.errors if isinstance(each, Mapping) and each.get("reason")), None)
    found: str | None = given or error.reason  # the latter is how the Storage Read API says it
    return found


def is_transient(error: BaseException) -> bool:
    """Whether it may go away by itself, so that asking again helps."""
    why = reason(error)
    if why in _AGAIN or (isinstance(error, auth_exceptions.GoogleAuthError) and error.retryable):
        return True
    if why == _LIMIT or why in _STOPPED or why in _REMEDIES or _UNTRUSTED in str(error):
        return False
    return isinstance(error, TRANSIENT)


def is_denied(error: BaseException) -> bool:
    """Whether a role is missing. A quota, or a project without billing, is "forbidden" too, and no role mends it."""
    return isinstance(error, gexc.Forbidden) and reason(error) in _DENIED


def remedy(error: BaseException) -> str:
    """What to do about a refusal that is known by its reason; '' if it is not."""
    return _REMEDIES.get(reason(error) or "", "")


def require_bigquery(response: requests.Response, *_: Any, **__: Any) -> None:
    """A hook for a session's answers, before the library takes them for BigQuery's.

    Raises:
        NotBigQueryError: nothing of BigQuery's says that; the message is what answered, and the first words of it.
    """
    status = response.status_code
    if 300 <= status < 400:  # a redirect: what it leads to comes here too
        return
    try:
        body = response.json()
    except requests.JSONDecodeError:
        known = status in _HANDED_ON
    else:
        if status < 300:
            known = isinstance(body, dict) and any(name in body for name in _ANSWERS)
        else:
            error = body.get("error", {} if status in _HANDED_ON else None) if isinstance(body, dict) else None
            known = isinstance(error, dict)
    if not known:
        url = urlsplit(response.url)
        kind = response.headers.get("Content-Type", "no type")
        words = " ".join(response.text.split())[:100]
        raise NotBigQueryError(f"{url.scheme}://{url.netloc} (status {status}, {kind}: '{words}')")


@contextmanager
def explained(project: str | None, seconds: float, maximum_bytes_billed: int) -> Iterator[None]:
    """What goes wrong in the block, as one paragraph with what to do.

    Raises:
        SettingsError: no credentials, or none that can be read.
        SourceDataError: BigQuery refuses, does not answer within the deadline of `seconds`, or is not there at all.
    """
    try:
        yield
    except (
        gexc.GoogleAPIError,
        auth_exceptions.GoogleAuthError,
        requests.RequestException,
        NotBigQueryError,
        StillRunningError,
        *TRANSIENT,
    ) as error:
        raise _explanation(error, f"BigQuery, project {project}", seconds, maximum_bytes_billed) from error


def _explanation(error: Exception, where: str, seconds: float, maximum_bytes_billed: int) -> NbaMlError:
    if isinstance(error, gexc.RetryError):
        error = error.cause or error
    why, words = reason(error), said(error)
    if why == _LIMIT or (isinstance(error, gexc.BadRequest) and "bytes billed" in words):
        return SourceDataError(
            f"{where} refused the query: {words} The limit is NBA_ML_BIGQUERY_MAX_BYTES, {maximum_bytes_billed:,} "
            "bytes; raise it if the tables really are that large."
        )
    if remedy(error):
        return SourceDataError(f"{where} refused: {words} {remedy(error)}")
    if why in _STOPPED or isinstance(error, StillRunningError):
        return SourceDataError(
            f"{where}: the query was still running after the {seconds:g} s that it may take, and was told to stop: "
            f"{words} Nothing was written. Look at the job in BigQuery's console, whether it waits for others or the "
            "tables have grown, then run it again."
        )
    if is_transient(error) or isinstance(error, gexc.RetryError):
        return SourceDataError(
            f"{where} did not answer within {seconds:g} s; the last thing it said was: {words} Nothing was written. "
            "Check the network, then run it again."
        )
    return _refusal(error, where, why, words)


def _refusal(error: Exception, where: str, why: str | None, words: str) -> NbaMlError:
    """What asking again does not change."""
    if isinstance(error, NotBigQueryError):
        return SourceDataError(
            f"{where}: what answered is not BigQuery but {words} Check BIGQUERY_EMULATOR_HOST, if it is set: its port "
            "is that of the emulator's REST service. Without it, see whether a proxy or a network's log-in page "
            "stands in between."
        )
    if _UNTRUSTED in str(error):
        return SourceDataError(
            f"{where}: the certificate of what answered is not trusted: {words} If a proxy of your company's stands in "
            "between, name the file with its certificate in REQUESTS_CA_BUNDLE."
        )
    if isinstance(error, auth_exceptions.InvalidOperation):
        return SettingsError(
            f"{where}: what answers at BIGQUERY_EMULATOR_HOST asks for credentials (status 401), and an emulator is "
            "asked without. Check its address; for Google's own service, unset it."
        )
    if isinstance(error, auth_exceptions.DefaultCredentialsError):
        return SettingsError(
            f"{where}: no usable credentials: {words} Set GOOGLE_APPLICATION_CREDENTIALS to a service account's "
            "key file, whole and readable, or unset it and run `gcloud auth application-default login`."
        )
    if isinstance(error, (gexc.Unauthenticated, gexc.Unauthorized, auth_exceptions.GoogleAuthError)):
        return SourceDataError(
            f"{where}: the credentials were not accepted: {words} Renew them, or name another key file in "
            "GOOGLE_APPLICATION_CREDENTIALS."
        )
    if is_denied(error):
        return SourceDataError(
            f"{where}: permission denied: {words} The account needs roles/bigquery.jobUser and "
            "roles/bigquery.readSessionUser on the project, and roles/bigquery.dataViewer on both datasets."
        )
    if isinstance(error, gexc.NotFound):
        return SourceDataError(
            f"{where}: not found: {words} Check NBA_ML_BIGQUERY_PROJECT, NBA_ML_FEATURE_TABLE, "
            "NBA_ML_SUMMARY_TABLE, and NBA_ML_BIGQUERY_LOCATION if the datasets are outside the US."
        )
    if isinstance(error, gexc.BadRequest) and why in _NO_QUERY:
        return SourceDataError(
            f"{where} refused the query: {words} The tables must have the columns listed in "
            "docs/pages/how-to/cloud.md, and a partition on game_date."
        )
    return SourceDataError(f"{where} failed: {words} Nothing was written; run it again.")


def said(error: BaseException) -> str:
    """What Google's library said, on one line, with a full stop."""
    words = str(error)
    if isinstance(error, auth_exceptions.GoogleAuthError):  # several arguments, the last of them the cause
        words = ": ".join(str(each).rstrip(".") for each in error.args if isinstance(each, (str, Exception)))
    message = getattr(error, "message", None) or words or type(error).__name__
    text = " ".join(str(message).split())[:500]
    return text if text.endswith(".") else f"{text}."
