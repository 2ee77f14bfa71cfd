"""Errors from Cloud Storage: which reason the server gives, and what to tell the user to do about it.

Goes by the reason in the answer and not by the status: one status means many things. A 403 may be a missing role, a
retention policy, a hold, a key, unpaid bills or a perimeter, each with a remedy of its own; a 412 is a lost race or a
policy of the organisation. The reasons are those of https://cloud.google.com/storage/docs/json_api/v1/status-codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption

from nba_ml.contract.errors import PublicationError, SettingsError

_RETENTION = (
    "A retention policy or retention date protects {uri}. The channel's pointer must be replaceable, so remove the "
    "policy from the bucket (gcloud storage buckets update gs://{bucket} --clear-retention-period), or use a root in a "
    "bucket without one."
)
_HOLD = (
    "Release the object: gcloud storage objects update {uri} --no-temporary-hold --no-event-based-hold. If the bucket "
    "sets a hold on every new object: gcloud storage buckets update gs://{bucket} --no-default-event-based-hold."
)
_BILLING = (
    "No active billing account pays for this request. Link the bucket's project to one, or the project in "
    "NBA_ML_BILLING_PROJECT if that is set."
)
_REQUESTER_PAYS = (
    "The requester pays for this bucket. Set NBA_ML_BILLING_PROJECT to the project that is to be billed, for which the "
    "account needs roles/serviceusage.serviceUsageConsumer."
)
_BILLED_PROJECT = (
    "Set NBA_ML_BILLING_PROJECT to an existing project, and grant the account roles/serviceusage.serviceUsageConsumer "
    "in it."
)
_KEY_ROLE = (
    "Grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the key to the Cloud Storage service agent of the bucket's "
    "project (gcloud storage service-agent --project PROJECT prints its name)."
)
_KEY = (
    "Enable or restore the key version that encrypts the object, or give the bucket another default key "
    "(gcloud storage buckets update gs://{bucket} --default-encryption-key=KEY, in the bucket's own location)."
)
_CUSTOMER_KEY = (
    "The object is encrypted with a key that its writer supplied and that nba_ml does not have. Remove it or write it "
    "again without --encryption-key."
)
_PERIMETER = (
    "A VPC Service Controls perimeter rejects this request. Run inside the perimeter, or ask its administrator for an "
    "ingress rule for this account; the identifier in the message lets them find the request."
)
_ORGANISATION = (
    "A policy of the organisation forbids it. Ask its administrator for an exception, or use a bucket that keeps the "
    "constraint that the message names."
)
_DISABLED = "Enable the API in the account's project: gcloud services enable storage.googleapis.com."
_QUOTA = "A quota or rate limit is used up. Wait, or raise it (in the console: IAM & Admin, Quotas)."

_REMEDIES: Mapping[str, str] = {
    "retentionPolicyNotMet": _RETENTION,
    "objectUnderActiveHold": _HOLD,
    "accountDisabled": _BILLING,
    "userProjectAccountProblem": _BILLING,
    "userProjectMissing": _REQUESTER_PAYS,
    "userProjectAccessDenied": _BILLED_PROJECT,
    "userProjectInvalid": _BILLED_PROJECT,
    "userProjectInconsistent": _BILLED_PROJECT,
    "cloudKmsBadKey": _KEY,
    "cloudKmsDisabledKey": _KEY,
    "cloudKmsDecryptionKeyNotFound": _KEY,
    "cloudKmsEncryptionKeyNotFound": _KEY,
    "cloudKmsKeyLocationNotAllowed": _KEY,
    "cloudKmsCannotChangeKeyName": _KEY,
    "customerEncryptionKeyIsIncorrect": _CUSTOMER_KEY,
    "resourceIsEncryptedWithCustomerEncryptionKey": _CUSTOMER_KEY,
    "orgPolicyConstraintFailed": _ORGANISATION,
    "vpcServiceControls": _PERIMETER,
    "SECURITY_POLICY_VIOLATED": _PERIMETER,
    "accessNotConfigured": _DISABLED,
    "usageLimits.accessNotConfigured": _DISABLED,
    "SERVICE_DISABLED": _DISABLED,
    "quotaExceeded": _QUOTA,
    "rateLimitExceeded": _QUOTA,
    "userRateLimitExceeded": _QUOTA,
    "usageLimits.rateLimitExceeded": _QUOTA,
}

_WORDS: Mapping[str, str] = {
    "retention policy": _RETENTION,
    "under active": _HOLD,
    "requester pays": _REQUESTER_PAYS,
    "billing account": _BILLING,
    "not configured billing": _BILLING,
    "permission denied on cloud kms key": _KEY_ROLE,
    "vpcservicecontrolsuniqueidentifier": _PERIMETER,
    "prohibited by organization's policy": _PERIMETER,
}
"""What such an answer says where its reason is only `forbidden`, `invalid` or `required`."""

_LOG_IN = (
    "Run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service "
    "account; for an emulator set STORAGE_EMULATOR_HOST."
)

_IMPERSONATION = (
    "The log-in may not act as the service account. Grant it roles/iam.serviceAccountTokenCreator on that account, and "
    "enable the API iamcredentials.googleapis.com in the account's project; it takes a few minutes."
)

_READS = ("read", "list")
"""Actions that change nothing, whether their answer arrived or not."""

_RATE_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "usageLimits.rateLimitExceeded"})


@dataclass(frozen=True, slots=True)
class Place:
    """What a store's messages name: its root, its bucket, the server, and the seconds for which it tries."""

    root: str
    bucket: str
    endpoint: str
    deadline: float


def reasons(error: BaseException) -> list[str]:
    """The reasons that an answer gives, such as `retentionPolicyNotMet`, the most specific first."""
    answer = _answer(error)
    given = [
        each.get("reason")
        for part in ("details", "errors")
        for each in (answer.get(part) or ())
        if isinstance(each, Mapping)
    ]
    return [each for each in given if isinstance(each, str)]


def is_policy(error: api.PreconditionFailed) -> bool:
    """Whether the organisation forbids it. A lost race for an object has the same status."""
    return "orgPolicyConstraintFailed" in reasons(error)


def is_rate_limit(error: BaseException) -> bool:
    """Whether it is a rate limit with the status of a missing permission, which the library would not retry."""
    return isinstance(error, api.Forbidden) and not _RATE_LIMITS.isdisjoint(reasons(error))


def impersonation_remedy(error: BaseException) -> str:
    """What to do if a log-in could not impersonate a service account; '' for any other error."""
    refused = isinstance(error, auth.RefreshError) and "impersonated credentials" in str(error)
    return _IMPERSONATION if refused else ""


def not_logged_in(uri: str, error: Exception) -> SettingsError:
    """There are no usable credentials."""
    return SettingsError(f"Could not open {uri}: no usable credentials ({_message(error)}). {_LOG_IN}")


def refusal(action: str, uri: str, error: Exception, place: Place) -> PublicationError | SettingsError:
    """What the library raised, as one paragraph with the next step."""
    attempt = f"Could not {action} {uri}"
    cause = error.cause if isinstance(error, api.RetryError) and error.cause is not None else error
    given_up, message = cause is not error, _message(cause)
    if what_to_do := _remedy(cause, uri, place.bucket):
        return PublicationError(f"{attempt}: {message.rstrip('.')}. {what_to_do} Then run again.")
    if isinstance(cause, api.NotFound):
        return SettingsError(
            f"{attempt}: there is no bucket '{place.bucket}' ({message}). Correct the root {place.root} in the "
            f"settings, or create the bucket: gcloud storage buckets create gs://{place.bucket}."
        )
    if isinstance(cause, api.Unauthorized) or (
        isinstance(cause, auth.GoogleAuthError) and not isinstance(cause, auth.TransportError)
    ):
        return SettingsError(f"{attempt}: not authenticated to Cloud Storage ({message}). {_LOG_IN}")
    if isinstance(cause, api.Forbidden):
        return PublicationError(
            f"{attempt}: this account has no permission ({message}). Grant it roles/storage.objectUser on the bucket "
            f"'{place.bucket}', or roles/storage.objectViewer if it is only to read, and run again."
        )
    if isinstance(cause, DataCorruption):
        return PublicationError(
            f"{attempt}: the checksum of the received bytes differs from the one that Cloud Storage states for the "
            f"object ({message}). They were discarded. Run again; if it happens again, something on the network, such "
            "as a proxy, changes them."
        )
    if given_up:
        # An answer with a status came from Cloud Storage; otherwise there was none.
        failed = "kept refusing" if isinstance(cause, api.GoogleAPICallError) else "could not be reached"
        again = "Check the network and status.cloud.google.com, then run again"
        if action not in _READS:
            again = f"It is not known whether the write was carried out. {again}"
        return PublicationError(
            f"{attempt}: {place.endpoint} {failed} for {place.deadline:,.0f} seconds; the last error was: {message}. "
            f"{again}."
        )
    return PublicationError(
        f"{attempt}: {place.endpoint} gave an unexpected answer: {message}. If that is not the address of Cloud "
        "Storage or of an emulator (http://host:port), correct it; if it is, fix what the answer names and run again."
    )


def _remedy(error: BaseException, uri: str, bucket: str) -> str:
    """What to do about a refusal whose reason is known; '' for any other."""
    if what_to_do := impersonation_remedy(error):
        return what_to_do
    if not isinstance(error, api.ClientError):
        return ""
    known = [_REMEDIES[each] for each in reasons(error) if each in _REMEDIES]
    known += [text for words, text in _WORDS.items() if words in _message(error).lower()]
    return known[0].format(uri=uri, bucket=bucket) if known else ""


def _answer(error: BaseException) -> Mapping[str, Any]:
    """The `error` of the JSON in the answer; {} if there is none. Not every exception of the library has it parsed."""
    try:
        found = error.response.json()["error"]  # type: ignore[attr-defined]
    except (AttributeError, ValueError, KeyError, TypeError):  # no response, no JSON, other JSON
        return {}
    return found if isinstance(found, Mapping) else {}


def _message(error: Exception) -> str:
    """An error's message, in one line of at most 400 characters; of an answer with a status, the server's own words."""
    text = str(error)
    if isinstance(error, api.GoogleAPICallError):
        text = f"{error.code:d}: {_answer(error).get('message', error.message)}"
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= 400 else f"{line[:400]}..."
