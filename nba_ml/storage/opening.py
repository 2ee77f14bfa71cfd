"""Open the objects under a root without Dagster: for the prediction worker and the light commands."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.setting_names import require_known_names
from nba_ml.contract.signing import Signing
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import URI_SCHEME, ObjectStore

BILLING_PROJECT = "NBA_ML_BILLING_PROJECT"
"""Read here and not with the other settings: like Google's own variables it is about how a bucket is reached, and the
worker opens a bucket without our settings."""


def signing_of_worker() -> Signing | None:
    """Which signatures are required, for a process that has no `Settings`; None if none are.

    Raises:
        SettingsError: a setting is invalid, or its name is misspelt.
    """
    require_known_names(os.environ)
    return Signing.from_environment(os.environ)


def open_objects(root: str) -> ObjectStore:
    """The objects under a directory, given as a path or as `file://`, or under `gs://bucket/prefix`.

    Makes no request yet.

    Raises:
        SettingsError: the root cannot be used; says why.
    """
    address = urlsplit(root)
    if address.scheme == "gs":
        from nba_ml.storage.cloud import open_cloud_store  # noqa: PLC0415 (imports Google's libraries: 0.5 s)

        return open_cloud_store(root, billing_project=os.environ.get(BILLING_PROJECT) or None)
    if address.scheme == "file" and address.netloc in ("", "localhost"):
        return DirectoryStore(Path(unquote(address.path)))
    if URI_SCHEME.match(root):
        raise SettingsError(f"'{root}' is not a supported root. Give a directory, file:///... or gs://bucket/prefix.")
    return DirectoryStore(Path(root))
