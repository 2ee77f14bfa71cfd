"""`nba-ml verify`: check a published bundle from scratch."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from nba_ml.cli.wrapper import AS_JSON, command, say, show_json
from nba_ml.contract.errors import BundleError, SettingsError
from nba_ml.contract.signing import SIGNATURES_OFF

MANIFEST = "_manifest.json"
"""How the names of manifests end."""

_HOW = (
    f"Give the URI of a bundle's manifest (...{MANIFEST}), as `nba-ml run` prints it; a bundle without one was not "
    "published completely."
)


@click.command(short_help="Verify a published or registered model.")
@click.argument("uri")
@AS_JSON
@command
def verify(uri: str, as_json: bool) -> int:
    """Verify a published bundle or a registered model: digests first, then its reference predictions in a fresh
    process.

    URI is its manifest, as `nba-ml run` or `nba-ml rollout register` prints it.
    """
    from nba_ml.registry.learners.known import learner_of_model
    from nba_ml.registry.provenance import describe_code, provenance_in
    from nba_ml.registry.reader import read_manifest, reads_from, verify_bundle
    from nba_ml.registry.signed_store import open_published
    from nba_ml.registry.systems.registered import load_registered, read_registered
    from nba_ml.storage.opening import signing_of_worker

    folder, manifest = _folder_and_name(uri)
    signing = signing_of_worker()
    read = reads_from(open_published(folder, signing))
    if learner_of_model(manifest) is None:
        bundle = verify_bundle(read, manifest)
        provenance = provenance_in(read_manifest(read, manifest).read_documents(read))
        name, rows, exact = bundle.model_id, len(bundle.rows), "bit for bit"
    else:
        registered = read_registered(read, manifest)
        system = load_registered(registered, apart=True)
        provenance = None
        name, rows, exact = system.version, len(registered.manifest.reference_rows), "to a billionth of a point"
    if as_json:
        show_json(
            {
                "model_id": name,
                "verified": True,
                "signed": signing is not None,
                "reference_rows": rows,
                "reproduced": exact,
                "provenance": provenance,
            }
        )
        return 0
    trusted = "It is signed by a trusted publisher, its digests" if signing else "Digests"
    say(f"{name}: verified. {trusted} match, and a fresh process reproduces its {rows} reference predictions {exact}.")
    if provenance is not None:
        say(describe_code(provenance))
    if signing is None:
        say(SIGNATURES_OFF)
    return 0


def _folder_and_name(uri: str) -> tuple[str, str]:
    """The root and the name of the manifest that a URI or a path gives.

    Raises:
        SettingsError: a URI of another kind.
        BundleError: it is not that of a manifest, or no file is there.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "gs":
        folder, _, name = uri.rpartition("/")
        if not name.endswith(MANIFEST):
            raise BundleError(f"{uri} is not a manifest (...{MANIFEST}). {_HOW}")
        return folder, name
    if scheme not in ("", "file"):
        raise SettingsError(f"{uri} cannot be verified: give a path, file:// or gs://.")
    path = (Path(unquote(urlsplit(uri).path)) if scheme else Path(uri)).absolute()
    if path.is_dir():
        written = {file: at for file in path.rglob(f"*{MANIFEST}") if (at := _written(file)) is not None}
        newest = f" The newest in it is {max(written, key=written.__getitem__)}." if written else " It contains none."
        raise BundleError(f"{path} is a folder. Give the manifest of one model (...{MANIFEST}).{newest}")
    if path.is_file() and not path.name.endswith(MANIFEST):
        stem = re.sub(r"_metadata$|_(?:model_card|provenance)_[0-9a-f]{12}$", "", path.name.removesuffix(path.suffix))
        beside = path.with_name(stem + MANIFEST)
        named = f"Its bundle's manifest is {beside}." if beside.is_file() else "No manifest of its name lies beside it."
        raise BundleError(f"{path} is not a manifest (...{MANIFEST}). {named}")
    if not path.is_file():
        raise BundleError(f"{path} does not exist. {_HOW}")
    return str(path.parent), path.name


def _written(file: Path) -> float | None:
    """When a file was written last; None if it was removed meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return None
