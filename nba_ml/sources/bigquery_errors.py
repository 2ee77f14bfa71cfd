"""Errors from BigQuery, or from a server that answers in its place: whether to retry, and what to tell the user.

Uses the reason that BigQuery gives and not the library's exception: the same reason arrives as different exceptions, as
an HTTP error or as a failed job, and a reason unknown to the library becomes an internal error (500).
The reasons are those of https://cloud.google.com/bigquery/docs/error-messages.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from google.api_core import exceptions as gexc
from google.auth import exceptions as auth_exceptions

from nba_ml.contract.errors import NbaMlError, SettingsError, SourceDataError
from nba_ml.storage.cloud_errors import impersonation_remedy

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
"""Exceptions that may be temporary, if BigQuery gives no reason. See `is_transient`."""

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
"""Temporary reasons, whatever the exception: a rate limit can be a 403."""

_LIMIT = "bytesBilledLimitExceeded"
_STOPPED = frozenset({"stopped", "timeout"})
_REMEDIES: Mapping[str, str] = {
    "quotaExceeded": "A quota of the project is used up. Wait until it is renewed, or raise it (in the console: IAM & "
    "Admin, Quotas); then run it again.",
    **dict.fromkeys(
        ("billingNotEnabled", "BILLING_DISABLED"),
        "Billing is not enabled for the project. Link it to a billing account, then run it again.",
    ),
    **dict.fromkeys(
        ("accessNotConfigured", "SERVICE_DISABLED"),
        "An API is disabled in the project. Enable both with `gcloud services enable bigquery.googleapis.com "
        "bigquerystorage.googleapis.com`, and run it again after a few minutes.",
    ),
}
"""Reasons that arrive as "forbidden" although no role is missing, with what to do."""

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's error; the library wraps it in a connection error."""

_DENIED = (None, "accessDenied", "forbidden", "insufficientPermissions", "IAM_PERMISSION_DENIED")
_NO_QUERY = (None, "invalidQuery", "invalid")

_ANSWERS = ("jobReference", "job", "tableReference")
"""Every response to a query's calls, or about a table, has one of these fields."""

_HANDED_ON = (401, 408, 429, 500, 502, 503, 504)
"""Statuses that a server in front of BigQuery may return with its own text, and that the library understands."""


class NotBigQueryError(Exception):
    """Something other than BigQuery answered: a network's log-in page, a proxy, another server's port."""


class StillRunningError(Exception):
    """The query did not finish before the deadline. It is not retried, because no time is left."""


def reason(error: BaseException) -> str | None:
    """BigQuery's reason for an error, such as `quotaExceeded`; None if there is none."""
    if not isinstance(error, gexc.GoogleAPICallError):
        return None
    given = next((each["reason"] for each in error.errors if isinstance(each, Mapping) and each.get("reason")), None)
    found: str | None = given or error.reason  # the latter is set by the Storage Read API
    return found


def is_transient(error: BaseException) -> bool:
    """Whether the error may be temporary, so that a retry can help."""
    why = reason(error)
    if why in _AGAIN or (isinstance(error, auth_exceptions.GoogleAuthError) and error.retryable):
        return True
    if why == _LIMIT or why in _STOPPED or why in _REMEDIES or _UNTRUSTED in str(error):
        return False
    return isinstance(error, TRANSIENT)


def is_denied(error: BaseException) -> bool:
    """Whether a role is missing. An exceeded quota and missing billing are "forbidden" too, but need no role."""
    return isinstance(error, gexc.Forbidden) and reason(error) in _DENIED


def is_over_limit(error: BaseException) -> bool:
    """Whether a query was refused because it would bill more than its limit."""
    return reason(error) == _LIMIT or (isinstance(error, gexc.BadRequest) and "bytes billed" in str(error))


def over_limit(error: BaseException, limit: int) -> str:
    """What the refused query would bill, the limit, and what to do. Nothing was billed.

    BigQuery gives the first number in its message only ('... 20971520 or higher required.').
    """
    found = re.search(r"(\d+) or higher required", str(error))
    would, more = (f"{int(found[1]):,} bytes", f"={found[1]} or more") if found else (message_of(error), " to more")
    return (
        f"the query would bill {would}, and the limit NBA_ML_BIGQUERY_MAX_BYTES is {limit:,}. It did not run and was "
        "not billed. Check that the settings name the right table, with a partition on game_date; if it really is that "
        f"large, set NBA_ML_BIGQUERY_MAX_BYTES{more}."
    )


def remedy(error: BaseException) -> str:
    """What to do about an error with a known reason; '' for any other."""
    return _REMEDIES.get(reason(error) or "", "") or impersonation_remedy(error)


def require_bigquery(response: requests.Response, *_: Any, **__: Any) -> None:
    """A hook for a session's responses: checks that they come from BigQuery before the library parses them.

    Raises:
        NotBigQueryError: the response is not from BigQuery; the message has its address and first words.
    """
    status = response.status_code
    if 300 <= status < 400:  # a redirect: its target is checked too
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
    """Convert errors in the block into one paragraph with the next step.

    Raises:
        SettingsError: the credentials are missing or unreadable.
        SourceDataError: BigQuery rejects the query, does not answer within `seconds`, or cannot be reached.
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
    why, words = reason(error), message_of(error)
    if is_over_limit(error):
        return SourceDataError(f"{where}: {over_limit(error, maximum_bytes_billed)}")
    if remedy(error):
        return SourceDataError(f"{where} rejected the query: {words} {remedy(error)}")
    if why in _STOPPED or isinstance(error, StillRunningError):
        return SourceDataError(
            f"{where}: the query was still running after the limit of {seconds:g} s and was cancelled: {words} Nothing "
            "was written. Check in BigQuery's console whether the job waits for others or the tables have grown, then "
            "run it again."
        )
    if is_transient(error) or isinstance(error, gexc.RetryError):
        return SourceDataError(
            f"{where} did not answer within {seconds:g} s; the last error was: {words} Nothing was written. "
            "Check the network, then run it again."
        )
    return _refusal(error, where, why, words)


def _refusal(error: Exception, where: str, why: str | None, words: str) -> NbaMlError:
    """An error that a retry does not change."""
    if isinstance(error, NotBigQueryError):
        return SourceDataError(
            f"{where}: something other than BigQuery answered: {words} If BIGQUERY_EMULATOR_HOST is set, its port must "
            "be that of the emulator's REST service. If it is not set, check for a proxy or a network's log-in page."
        )
    if _UNTRUSTED in str(error):
        return SourceDataError(
            f"{where}: the server's certificate is not trusted: {words} Behind a company proxy, set REQUESTS_CA_BUNDLE "
            "to the file with its certificate."
        )
    if isinstance(error, auth_exceptions.InvalidOperation):
        return SettingsError(
            f"{where}: the server at BIGQUERY_EMULATOR_HOST requires credentials (status 401), which are not sent to "
            "an emulator. Correct the address, or unset it to use Google's own service."
        )
    if isinstance(error, auth_exceptions.DefaultCredentialsError):
        return SettingsError(
            f"{where}: no usable credentials: {words} Set GOOGLE_APPLICATION_CREDENTIALS to a service account's "
            "readable and complete key file, or unset it and run `gcloud auth application-default login`."
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
            f"{where} rejected the query: {words} The tables must have the columns listed in "
            "docs/pages/how-to/cloud.md, and a partition on game_date."
        )
    return SourceDataError(f"{where} failed: {words} Nothing was written; run it again.")


def message_of(error: BaseException) -> str:
    """The error message of Google's library, on one line, with a full stop."""
    words = str(error)
    if isinstance(error, auth_exceptions.GoogleAuthError):  # several arguments, the last of them the cause
        words = ": ".join(str(each).rstrip(".") for each in error.args if isinstance(each, (str, Exception)))
    message = getattr(error, "message", None) or words or type(error).__name__
    text = " ".join(str(message).split())[:500]
    return text if text.endswith(".") else f"{text}."
