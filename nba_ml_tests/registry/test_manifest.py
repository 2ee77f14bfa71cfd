"""The manifest's bytes: one form for one content, and no other form of it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError, PublicationError
from nba_ml.contract.systems import SYSTEMS
from nba_ml.registry.manifest import BundleNames, Manifest, ManifestObject, model_id_of_manifest
from nba_ml.registry.publication import list_published
from nba_ml.registry.verdict import CheckVerdict, Override, Verdict
from nba_ml.storage.directory import DirectoryStore

MODEL_ID = "xgboost_v1_33features_202506_9eb8b7fbed60"
BOOSTER = ManifestObject(name=f"{MODEL_ID}.json", size=9, sha256="ab" * 32)
CARD = ManifestObject(name=f"{MODEL_ID}_model_card_0123456789ab.md", size=6, sha256="cd" * 32)
VERDICT = Verdict(model_sha256="ab" * 32, checks=(), thresholds={"z": 1.5, "a": [1, 2]})
MANIFEST = Manifest(format_version=1, model_id=MODEL_ID, objects=(BOOSTER,), verdict=VERDICT)

WRITTEN = """{
  "format_version": 1,
  "manifest_sha256": "%s",
  "model_id": "xgboost_v1_33features_202506_9eb8b7fbed60",
  "objects": [
    {
      "name": "xgboost_v1_33features_202506_9eb8b7fbed60.json",
      "sha256": "abababababababababababababababababababababababababababababababab",
      "size": 9
    }
  ],
  "verdict": {
    "checks": [],
    "model_sha256": "abababababababababababababababababababababababababababababababab",
    "overrides": [],
    "thresholds": {
      "a": [
        1,
        2
      ],
      "z": 1.5
    }
  }
}
"""


def sealed(content: dict[str, Any], claimed: str | None = None, **form: Any) -> bytes:
    """Content with its digest, in the canonical form or in another."""

    def written(each: dict[str, Any], **other: Any) -> bytes:
        return (json.dumps(each, **{"sort_keys": True, "indent": 2, **other}) + "\n").encode()

    return written({**content, "manifest_sha256": claimed or bytes_digest(written(content))}, **form)


def test_a_manifest_has_one_form() -> None:
    """Guards published manifests, whose digests channels name: the same content has the same bytes in every release."""
    content = json.loads(WRITTEN)
    del content["manifest_sha256"]
    digest = bytes_digest((json.dumps(content, sort_keys=True, indent=2) + "\n").encode())
    assert MANIFEST.to_bytes().decode() == WRITTEN % digest
    assert Manifest.from_bytes(MANIFEST.to_bytes(), "m") == MANIFEST
    with_card = MANIFEST.model_copy(update={"documents": (CARD,)})
    assert json.loads(with_card.to_bytes())["documents"] == [CARD.model_dump()]
    assert Manifest.from_bytes(with_card.to_bytes(), "m") == with_card


@pytest.mark.parametrize("number", [b"Infinity", b"NaN", b"1e999"], ids=bytes.decode)
def test_no_number_that_json_lacks_is_written_or_read(number: bytes) -> None:
    """Guards the publisher against such a manifest: it has no canonical form, which was an unforeseen error."""
    endless = VERDICT.model_copy(update={"thresholds": {"a": float("inf")}})
    assert b'"a": null' in MANIFEST.model_copy(update={"verdict": endless}).to_bytes()
    with pytest.raises(BundleError, match="is not a manifest of format 1"):
        Manifest.from_bytes(MANIFEST.to_bytes().replace(b"1.5", number), "a/b")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"indent": 3}, "is damaged"),
        ({"indent": None}, "is damaged"),
        ({"claimed": "ef" * 32}, "is damaged"),
        ({"format_version": 2}, "is not a manifest of format 1"),
        ({"objects": None}, "is not a manifest of format 1"),
        ({"objects": [{**BOOSTER.model_dump(), "more": 1}]}, "is not a manifest of format 1"),
    ],
    ids=["indent", "no indent", "digest", "format", "objects", "an object's field"],
)
def test_another_form_is_not_read(form: dict[str, Any], said: str) -> None:
    content = json.loads(MANIFEST.to_bytes())
    del content["manifest_sha256"]
    fields: dict[str, Any] = {name: form.pop(name) for name in ("format_version", "objects") if name in form}
    with pytest.raises(BundleError, match=f"^a/b {said}"):
        Manifest.from_bytes(sealed({**content, **fields}, **form), "a/b")
    assert Manifest.from_bytes(sealed(content), "a/b") == MANIFEST
    assert Manifest.from_bytes(sealed({**content, "later": 1}), "a/b") == MANIFEST, "a later version's field"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"null", b"[" * 100_000], ids=["none", "list", "object", "null", "deep"]
)
def test_what_is_no_manifest_is_said(data: bytes) -> None:
    with pytest.raises(BundleError, match="is not a manifest of format 1"):
        Manifest.from_bytes(data, "a/b")


def test_the_names_of_a_bundle() -> None:
    names = BundleNames.of(MODEL_ID)
    stem = f"xgboost_v1/{MODEL_ID}"
    assert (names.booster, names.record, names.manifest) == (
        f"{stem}.json",
        f"{stem}_metadata.json",
        f"{stem}_manifest.json",
    )
    assert names.document("model.card.md", b"x") == f"{stem}_model.card_{bytes_digest(b'x')[:12]}.md"
    for wrong in ("", f"{MODEL_ID}0", f"../{MODEL_ID}", "xgboost_v1_33features_2025_9eb8b7fbed60"):
        with pytest.raises(PublicationError, match="is not a valid model id"):
            BundleNames.of(wrong)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        (f"xgboost_v1/{MODEL_ID}_manifest.json", MODEL_ID),
        (f"{MODEL_ID}_manifest.json", None),
        (f"xgboost_v1/{MODEL_ID}.json", None),
        (f"xgboost_v1/{MODEL_ID}", None),
        (MODEL_ID, None),
        ("xgboost_v1/channels_manifest.json", None),
        (f"xgboost_v1/xgboost_v1/{MODEL_ID}_manifest.json", None),
    ],
    ids=["manifest", "no folder", "booster", "no ending", "id", "another", "twice"],
)
def test_the_model_of_a_manifests_name(name: str, model_id: str | None) -> None:
    assert model_id_of_manifest(name) == model_id


def test_published_models_are_listed_by_system_and_month(tmp_path: Path) -> None:
    """Guards "the latest": in whichever order the systems are named, and with other objects beside the manifests."""
    store = DirectoryStore(tmp_path)
    last, first = MODEL_ID, MODEL_ID.replace("202506", "202110")
    other = f"xgboost_v2_41features_202110_{'0' * 12}"
    for model_id in (last, other, first):
        store.write(BundleNames.of(model_id).manifest, b"")
        store.write(BundleNames.of(model_id).booster, b"")
    assert list_published(store) == list_published(store, *reversed(SYSTEMS.values())) == [first, last, other]
    assert list_published(store, SYSTEMS["xgboost_v2"]) == [other]


CHECK = CheckVerdict(asset="a", check="b", month="2025-06", passed=True, subject="")


@pytest.mark.parametrize(
    ("made", "field"),
    [(MANIFEST, "model_id"), (BOOSTER, "size"), (VERDICT, "model_sha256"), (CHECK, "passed"),
     (Override(check="a.b", reason="because of it"), "reason")],
    ids=["manifest", "object", "verdict", "check", "override"],
)  # fmt: skip
def test_what_was_decided_is_not_changed_afterwards(made: BaseModel, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, field, getattr(made, field))


def test_an_override_has_no_other_fields() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Override.model_validate({"check": "a.b", "reason": "because of it", "all": True})
