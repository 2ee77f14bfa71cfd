"""Refusals of Cloud Storage by their reasons: from answers in Google's documented form to a paragraph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nba_ml.contract.errors import PublicationError
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.opening import BILLING_PROJECT, open_objects
from nba_ml_tests.faults.proxy import FaultProxy
from nba_ml_tests.storage.answering import refusals, refused

pytestmark = pytest.mark.slow

Answering = tuple[CloudStore, list[str]]

OBJECT, LIST = "gs://bucket-x/models/a ", "gs://bucket-x/models/ "
"""Addresses in a command: of the object, and of what `list` was to list."""


def answer(status: int, reason: str, message: str, **more: object) -> tuple[int, Mapping[str, Any]]:
    """As https://cloud.google.com/storage/docs/json_api/v1/status-codes shows it."""
    error = {"message": message, "domain": "global", "reason": reason}
    return status, {"error": {"code": status, "message": message, "errors": [error], **more}}


PERIMETER = "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: 5GlTz3"
REFUSALS = {
    "retention policy": (
        answer(
            403,
            "retentionPolicyNotMet",
            "Object 'bucket-x/models/a' is subject to bucket's retention policy or object retention and cannot be "
            "deleted or overwritten until 2027-01-01T00:00:00Z",
        ),
        "--clear-retention-period",
    ),
    "retention policy, forbidden": (
        answer(403, "forbidden", "Object 'a' is subject to bucket's retention policy and cannot be deleted"),
        "--clear-retention-period",
    ),
    "hold": (
        answer(403, "objectUnderActiveHold", "Object 'bucket-x/models/a' is under active Temporary hold"),
        f"gcloud storage objects update {OBJECT}--no-temporary-hold --no-event-based-hold",
    ),
    "billing off": (
        answer(403, "accountDisabled", "The billing account for the owning project is disabled in state absent"),
        "No active billing account",
    ),
    "billed project off": (
        answer(403, "userProjectAccountProblem", "The project to be billed is associated with a closed account."),
        "No active billing account",
    ),
    "requester pays": (
        answer(400, "required", "Bucket is a requester pays bucket but no user project provided."),
        "Set NBA_ML_BILLING_PROJECT to the project that is to be billed",
    ),
    "requester pays, by its reason": (
        answer(400, "userProjectMissing", "User project specified in the request is invalid."),
        "Set NBA_ML_BILLING_PROJECT to the project that is to be billed",
    ),
    "billed project denied": (
        answer(403, "userProjectAccessDenied", "Caller does not have required permission to use project p."),
        "roles/serviceusage.serviceUsageConsumer",
    ),
    "key disabled": (
        answer(400, "cloudKmsDisabledKey", "Cloud KMS key is disabled, destroyed, or scheduled to be destroyed."),
        "Enable or restore the key version",
    ),
    "key without a role": (
        answer(
            403,
            "forbidden",
            "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been "
            "authorized to use this key.",
        ),
        "roles/cloudkms.cryptoKeyEncrypterDecrypter",
    ),
    "perimeter": (answer(403, "vpcServiceControls", PERIMETER), "ingress rule"),
    "perimeter, in the details": (
        answer(403, "forbidden", "Forbidden", details=[{"@type": "x", "reason": "SECURITY_POLICY_VIOLATED"}]),
        "ingress rule",
    ),
    "perimeter, forbidden": (answer(403, "forbidden", PERIMETER), "ingress rule"),
    "policy of the organisation": (
        answer(412, "orgPolicyConstraintFailed", "Request violates constraint 'constraints/gcp.resourceLocations'"),
        "A policy of the organisation forbids it.",
    ),
    "API disabled": (
        answer(403, "accessNotConfigured", "Cloud Storage JSON API has not been used in project 1 before."),
        "gcloud services enable storage.googleapis.com",
    ),
    "quota": (answer(403, "quotaExceeded", "The quota is exceeded."), "raise it (in the console"),
    "customer's key": (
        answer(400, "resourceIsEncryptedWithCustomerEncryptionKey", "The target object is encrypted by a key."),
        "without --encryption-key",
    ),
    "missing role": (
        answer(403, "forbidden", "worker@p.iam.gserviceaccount.com does not have storage.objects.create access"),
        "Grant it roles/storage.objectUser on the bucket 'bucket-x'",
    ),
}


def said(content: Mapping[str, Any]) -> str:
    return str(content["error"]["message"]).rstrip(".")


@pytest.mark.parametrize(
    ("answering", "words", "what_to_do"),
    [(sent, said(sent[1]), what_to_do) for sent, what_to_do in REFUSALS.values()],
    ids=REFUSALS,
    indirect=["answering"],
)
def test_a_refusal_has_the_remedy_of_its_reason(answering: Answering, words: str, what_to_do: str) -> None:
    """Guards the operator who would grant a role, and grant it again, while a hold or a bill was the reason.

    Each is the answer to every action, and no action is tried again: none of these passes by itself.
    """
    store, requests = answering
    for message in refusals(store, PublicationError):
        assert words in message
        assert what_to_do in message.replace(LIST, OBJECT), message
        assert ".." not in message
    assert len([line for line in requests if "/o" in line]) == 6


@pytest.mark.parametrize("answering", [REFUSALS["policy of the organisation"][0]], ids=["412"], indirect=True)
def test_a_policy_is_no_lost_race(answering: Answering) -> None:
    """Guards promotions: a policy's 412 was taken for another writer, and the move for one to try again."""
    assert "A policy of the organisation forbids it." in refused(answering[0], "swap")


@pytest.mark.parametrize(
    "answering",
    [answer(403, "rateLimitExceeded", "The rate limit is exceeded."), answer(403, "userRateLimitExceeded", "Slow.")],
    ids=["project", "user"],
    indirect=True,
)
def test_a_rate_limit_is_tried_again_although_it_is_forbidden(answering: Answering) -> None:
    """Guards a publication at a busy moment: the library retries 429, and not the 403 that means the same."""
    store, requests = answering
    for message in refusals(store, PublicationError):
        assert "A quota or rate limit is used up." in message
    assert len(requests) > 12


def test_requests_are_billed_to_the_project_of_the_settings(
    gcs_endpoint: str, gcs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards buckets whose requesters pay: every request names the project, the store of a short deadline too."""
    with FaultProxy(gcs_endpoint).running() as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
        monkeypatch.setenv(BILLING_PROJECT, "who-pays")
        store = open_objects(f"gs://{gcs_bucket}/models")
        assert isinstance(store, CloudStore)
        with proxy.disturbing(lambda _: None, lambda: None):
            store.write("a", b"x" * 9 * 2**20)
            store.read("a")
            store.names("")
            store.within(5).delete("a")
            asked = [call.path for call in proxy.calls if "upload_id=" not in call.path]
    assert len(asked) >= 4
    assert all("userProject=who-pays" in path for path in asked), asked
