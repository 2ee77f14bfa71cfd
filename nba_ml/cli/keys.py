"""`nba-ml keys`: the keys and signatures of what is published."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nba_ml.cli.wrapper import FAILED, command, say
from nba_ml.contract.errors import BundleError, ChannelError, SettingsError
from nba_ml.contract.signing import KEY_FILES, ROLES, SIGNATURES_OFF, TRUSTED_KEYS, Role, key_id, key_text
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.registry.signed_store import SignedStore


@click.group()
def keys() -> None:
    """Keys and signatures: new, show, sign, renew."""


@keys.command(short_help="Create a private key for signing.")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@command
def new(role: Role, file: Path) -> int:
    """Create the private key of a publisher, who signs models, or of a promoter, who signs the channel.

    FILE is created, readable by its owner only. Keep a copy of it in a safe place.
    """
    from nba_ml.registry.signatures import create_key

    text = key_text(role, create_key(file))
    say(f"{file} is the private key of a {role}. Whoever signs with it sets:")
    say(f"{KEY_FILES[role]}={file.absolute()}")
    say(f"Everyone who reads what is published adds the public key to {TRUSTED_KEYS}:")
    say(text)
    return 0


@keys.command(short_help="Show trusted keys, and whether all is signed.")
@command
def show() -> int:
    """Show the trusted keys, those of this machine, and what of the published models and the channel is not signed.

    The exit code is 1 if something is not signed by a trusted key, or the channel's signature has expired.
    """
    from nba_ml.registry.countersigning import signed_names

    store = _signed_store()
    for role in ROLES:
        for each in store.trusted[role]:
            here = role in store.signers and key_id(store.signers[role].public) == each
            say(f"{role:9}  {each}{'  (this machine signs with it)' if here else ''}")
    names = signed_names(store)
    faults = [fault for fault in (_fault(store, name) for name in names) if fault]
    for fault in faults:
        say(fault)
    say(f"{len(names) - len(faults)} of {len(names)} manifests and states of the channel are signed by trusted keys.")
    current = _say_expiry(store)
    return 0 if current and not faults else FAILED


@keys.command(short_help="Sign models or states that exist already.")
@click.argument("model_ids", nargs=-1, metavar="[MODEL_ID]...")
@click.option("--all", "every", is_flag=True, help="All models under the root, published and registered.")
@click.option("--channel", is_flag=True, help="The channel and its history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def sign(model_ids: tuple[str, ...], every: bool, channel: bool, yes: bool) -> int:
    """Sign what was published before signatures were required, or with a key that is to be removed.

    Each model is verified first, as `nba-ml verify` does. You vouch for what you sign, so look at the list. What is
    signed with this machine's key already is left as it is.
    """
    from nba_ml.registry.countersigning import unsigned_models, unsigned_states

    if not (model_ids or every or channel):
        raise click.UsageError("Name models, or give --all or --channel.")
    store = _signed_store()
    models = unsigned_models(store, None if every else model_ids) if every or model_ids else []
    found = [*models, *(unsigned_states(store) if channel else [])]
    for each in found:
        say(each.description)
    if found and not yes and not _confirmed(len(found)):
        say("Nothing was signed.")
        return FAILED
    for each in found:
        store.sign(each.name, each.data)
    say(f"Signed {len(found)}.")
    return 0


@keys.command(short_help="Renew the channel's signature before it expires.")
@command
def renew() -> int:
    """Sign the channel's present state again, so that workers accept it for another NBA_ML_SIGNATURE_DAYS days.

    Each move of the channel signs it too. Needs the promoter's key.
    """
    from nba_ml.registry.countersigning import renew_channel

    store = _signed_store()
    state = renew_channel(store, datetime.now(UTC))
    say(f"Renewed: serial {state.serial}, in which {state.champion.model_id} serves.")
    _say_expiry(store)
    return 0


def _confirmed(count: int) -> bool:
    try:
        return click.confirm(f"Sign these {count}?")
    except click.Abort:  # no terminal
        return False


def _signed_store() -> SignedStore:
    from nba_ml.registry.signed_store import SignedStore, open_published

    settings = Settings.from_environment()
    store = open_published(settings.artifact_root, settings.signing)
    if not isinstance(store, SignedStore):
        raise SettingsError(
            f"{SIGNATURES_OFF} Make a publisher's and a promoter's key with `nba-ml keys new`, and set it to the "
            "public keys that this prints, with a comma between them."
        )
    return store


def _fault(store: SignedStore, name: str) -> str:
    try:
        store.signature(name)
    except (BundleError, ChannelError) as error:
        return str(error)
    return ""


def _say_expiry(store: SignedStore) -> bool:
    """Print until when workers accept the channel; returns whether they do now, or there is no channel."""
    from nba_ml.registry.channel import CHAMPION

    if _fault(store, CHAMPION) or (until := store.expires(CHAMPION)) is None:
        return True  # a fault is reported with the others
    expired = until < datetime.now(UTC)
    say(
        f"The channel's signature {'expired' if expired else 'expires'} on {until:%Y-%m-%d %H:%M} UTC."
        + (" Workers that start now refuse it: `nba-ml keys renew`." if expired else "")
    )
    return not expired
