"""What each role can do to a store when signatures are required, each row of the table in the documentation.

The attacker writes to the store directly, with every digest right: over a directory, and over Cloud Storage.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nba_ml.contract.errors import BundleError, ChannelError, PublicationError, ReleaseError, SettingsError
from nba_ml.registry.channel import CHAMPION, history_name, read_channel, read_history
from nba_ml.registry.countersigning import renew_channel, unsigned_models, unsigned_states
from nba_ml.registry.manifest import BundleNames, Manifest
from nba_ml.registry.publication import publish, published
from nba_ml.registry.reader import reads_from, verify_bundle
from nba_ml.registry.signed_store import SignedStore, current_only
from nba_ml.registry.systems.loading import find_model
from nba_ml.serving.predictor import Predictor
from nba_ml_tests.registry.places import Home, MakeHome
from nba_ml_tests.registry.publication_machine import bundle_of, digest
from nba_ml_tests.registry.signing import KeyRing, as_named, move_to, serving
from nba_ml_tests.release_scene import model_of, published_model

pytestmark = pytest.mark.slow

MONTHS = ("2021-11", "2021-12")


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.made_in(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    return make_home()


@pytest.fixture
def owner(home: Home, ring: KeyRing) -> SignedStore:
    """The store for whoever has both keys: the two models are published, and the channel has named each."""
    store = ring.held_by(home.store, "publisher", "promoter")
    for month in MONTHS:
        move_to(store, as_named(store, published_model(store, month)))
    return store


def ids() -> list[str]:
    return [model_of(month).model_id for month in MONTHS]


def signature_of(home: Home, text: str) -> str:
    """The name of the only signature whose name contains the text."""
    (name,) = (each for each in home.place.names() if text in each)
    return name


# -- a writer to the bucket who has no key -------------------------------------------------------------


def test_a_writer_without_keys_cannot_publish(home: Home, owner: SignedStore, ring: KeyRing) -> None:
    """Guards the bucket as the only guard: a bundle with every digest right was a published model."""
    forged = published_model(home.store, "2022-01")
    reader = ring.held_by(home.store)
    with pytest.raises(BundleError, match=f"{forged}_manifest.json is not signed by a trusted publisher: .*not exist"):
        Predictor.load(reader, model_id=forged)
    with pytest.raises(BundleError, match="is not signed"):
        verify_bundle(reads_from(reader), BundleNames.of(forged).manifest)
    with pytest.raises(BundleError, match="is not signed"):
        published(reader, forged)
    with pytest.raises(BundleError, match="is not signed"):
        find_model(owner, forged)
    before = home.place.read(CHAMPION)
    with pytest.raises(BundleError, match="is not signed"):
        move_to(owner, as_named(home.store, forged))
    assert home.place.read(CHAMPION) == before
    assert len(read_history(owner)) == 2, "a move to an unsigned model was recorded"


def test_nothing_is_read_of_an_unsigned_bundle_but_its_manifest(home: Home, ring: KeyRing) -> None:
    """Guards the learner's parser: it must not see a byte that no trusted publisher vouched for."""
    forged = published_model(home.store, "2021-11")
    names = BundleNames.of(forged)
    for name in (names.booster, names.record):
        home.place.remove(name)
    with pytest.raises(BundleError, match="is not signed"):
        Predictor.load(ring.held_by(home.store), model_id=forged)


def test_a_writer_without_keys_cannot_change_a_published_model(home: Home, owner: SignedStore) -> None:
    """Guards a manifest that is replaced together with its booster: the signature is one of other bytes."""
    identity = ids()[1]
    name = BundleNames.of(identity).manifest
    content = json.loads(home.place.read(name))
    content["verdict"]["thresholds"] = {"max_validation_mae": 99.0}
    data = json.dumps(content).encode()
    signature = home.place.read(signature_of(home, f"{identity}_signature_"))
    home.place.put(name, data)
    home.place.put(f"xgboost_v1/{identity}_signature_{digest(data)[:12]}.json", signature)
    with pytest.raises(BundleError, match="is one of other bytes"):
        Predictor.load(owner, channel="champion")


def test_a_writer_without_keys_cannot_move_the_channel(home: Home, owner: SignedStore, ring: KeyRing) -> None:
    """Guards the pointer, and the next state in the history, which any mover would have applied."""
    present = read_channel(owner)
    assert present is not None
    back = serving(as_named(owner, ids()[0]), present)
    home.place.put(history_name(back.serial), back.to_bytes())
    with pytest.raises(ChannelError, match=r"000003\.json is not signed by a trusted promoter"):
        move_to(owner, as_named(owner, ids()[0]))
    home.place.put(CHAMPION, back.to_bytes())
    with pytest.raises(ChannelError, match=r"champion\.json is not signed by a trusted promoter"):
        Predictor.load(ring.held_by(home.store), channel="champion")


def test_a_writer_without_keys_cannot_keep_a_signature_from_being_written(home: Home, ring: KeyRing) -> None:
    """Guards a place that is taken before the publisher comes: its name follows from the bundle."""
    other = ring.held_by(home.store, "publisher")
    identity = published_model(other, "2021-11")
    taken = signature_of(home, f"{identity}_signature_")
    for name in home.place.names():
        if name != taken:
            home.place.remove(name)
    home.place.put(taken, b"mine")
    assert published_model(other, "2021-11") == identity
    assert Predictor.load(ring.held_by(home.store), model_id=identity).model.model_id == identity


def test_a_writer_without_keys_can_put_an_old_state_back_until_it_expires(
    home: Home, owner: SignedStore, ring: KeyRing
) -> None:
    """Guards how long: a worker that runs refuses it at once, one that starts when the old signature has expired."""
    worker = Predictor.load(ring.held_by(home.store), channel="champion")
    home.place.put(CHAMPION, home.place.read(history_name(1)))
    with pytest.raises(ChannelError, match="went back from serial 2 to 1"):
        worker.refresh("champion")
    assert Predictor.load(ring.held_by(home.store), channel="champion").model.model_id == ids()[0]
    owner.sign(CHAMPION, home.place.read(CHAMPION), datetime.now(UTC) - timedelta(days=31))
    with pytest.raises(ChannelError, match=r"31\.0 days ago; at most 30 days are accepted"):
        Predictor.load(ring.held_by(home.store), channel="champion")
    # The next move starts from the newest state of the history, not from the one that was put back.
    move_to(owner, as_named(owner, ids()[0]))
    assert [state.serial for state in read_history(owner)] == [1, 2, 3]


@pytest.mark.usefixtures("owner")
def test_a_worker_that_remembers_refuses_an_old_state_after_a_restart(
    home: Home, ring: KeyRing, tmp_path: Path
) -> None:
    """Guards a restart against the old copy that only a running worker refuses; the file is of one channel, whole."""
    reader, memory = ring.held_by(home.store), tmp_path / "channel.json"
    newest = home.place.read(CHAMPION)
    home.place.put(CHAMPION, home.place.read(history_name(1)))
    worker = Predictor.load(reader, channel="champion", remember=memory)
    home.place.put(CHAMPION, newest)
    assert worker.refresh("champion")
    home.place.put(CHAMPION, home.place.read(history_name(1)))
    with pytest.raises(ChannelError, match=r"at serial 1 .* this worker served serial 2 .* remove the file"):
        Predictor.load(reader, channel="champion", remember=memory)
    home.place.put(CHAMPION, newest)
    assert Predictor.load(reader, channel="champion", remember=memory).model.model_id == ids()[1]
    memory.write_text(memory.read_text().replace("champion.json", "other.json"))
    with pytest.raises(SettingsError, match=r"is of .*other\.json, not of .*champion\.json"):
        Predictor.load(reader, channel="champion", remember=memory)
    memory.write_text("{")
    with pytest.raises(SettingsError, match="is damaged"):
        Predictor.load(reader, channel="champion", remember=memory)
    with pytest.raises(SettingsError, match="cannot be written"):
        Predictor.load(reader, channel="champion", remember=tmp_path / "absent" / "file")


def test_a_signed_state_that_was_never_recorded_does_not_replace_the_one_in_use(
    home: Home, owner: SignedStore, ring: KeyRing
) -> None:
    """Guards the signature that a promoter leaves who lost the race for a serial: the other state has the same one."""
    worker = Predictor.load(ring.held_by(home.store), channel="champion")
    present, lost = read_channel(owner), serving(as_named(owner, ids()[0]))
    assert present is not None
    data = lost.model_copy(update={"serial": present.serial}).to_bytes()
    owner.sign(CHAMPION, data)
    home.place.put(CHAMPION, data)
    with pytest.raises(ChannelError, match="holds another state of serial 2"):
        worker.refresh("champion")
    assert worker.model.model_id == ids()[1]


def test_a_writer_without_keys_can_delete_and_no_reader_falls_back(
    home: Home, ring: KeyRing, owner: SignedStore
) -> None:
    """Guards what signatures do not prevent: what is gone or damaged is an error, and nothing else serves instead."""
    for name in (signature_of(home, f"channels/signatures/{digest(home.place.read(CHAMPION))}"), CHAMPION):
        home.place.remove(name)
        with pytest.raises(ChannelError):
            Predictor.load(ring.held_by(home.store), channel="champion")
        with pytest.raises(ChannelError):
            read_channel(owner)


# -- with one of the keys ------------------------------------------------------------------------------


def test_a_publisher_can_publish_and_cannot_promote(home: Home, owner: SignedStore, ring: KeyRing) -> None:
    """Guards the separation of the two: with the publisher's key alone, nothing serves that did not before."""
    publisher = ring.held_by(home.store, "publisher")
    identity = published_model(publisher, "2022-01")
    assert Predictor.load(ring.held_by(home.store), model_id=identity).model.model_id == identity
    champion = read_channel(owner)
    assert champion is not None
    wanted = serving(find_model(publisher, model_of("2022-01").model_id), champion)
    before = home.place.names()
    with pytest.raises(PublicationError, match=r"no promoter's key\. Set NBA_ML_PROMOTER_KEY"):
        publisher.create(history_name(wanted.serial), wanted.to_bytes())
    assert home.place.names() == before
    # Written past the client, and signed with the key that it has.
    data = wanted.to_bytes()
    home.place.put(CHAMPION, data)
    signature = publisher.signers["publisher"].sign(data, datetime.now(UTC))
    home.place.put(f"xgboost_v1/channels/signatures/{digest(data)}.json", signature)
    with pytest.raises(ChannelError, match="is one of other bytes, or not of a promoter"):
        Predictor.load(ring.held_by(home.store), channel="champion")


@pytest.mark.usefixtures("owner")
def test_a_publisher_cannot_replace_the_model_that_serves(home: Home, ring: KeyRing) -> None:
    """Guards the channel's digest of the manifest: another signed manifest of the same id is not what was promoted."""
    name = BundleNames.of(ids()[1]).manifest
    home.place.remove(name)
    made, publisher = model_of(MONTHS[1]), ring.held_by(home.store, "publisher")
    bundle = bundle_of(made.booster)
    publish(publisher, type(bundle)(made.model_id, made.booster, made.record.to_bytes(), bundle.verdict))
    with pytest.raises(BundleError, match="as the channel names it"):
        Predictor.load(ring.held_by(home.store), channel="champion")


def test_a_promoter_can_promote_what_is_published_and_cannot_publish(
    home: Home, owner: SignedStore, ring: KeyRing
) -> None:
    """Guards the other half of the separation."""
    promoter = ring.held_by(home.store, "promoter")
    assert move_to(promoter, as_named(owner, ids()[0])).serial == 3
    assert Predictor.load(ring.held_by(home.store), channel="champion").model.model_id == ids()[0]
    before = home.place.names()
    with pytest.raises(PublicationError, match=r"no publisher's key\. Set NBA_ML_PUBLISHER_KEY"):
        published_model(promoter, "2022-01")
    assert home.place.names() == before, "half a bundle was left"
    forged = published_model(home.store, "2022-01")
    manifest = home.place.read(BundleNames.of(forged).manifest)
    signature = promoter.signers["promoter"].sign(manifest, datetime.now(UTC))
    home.place.put(f"xgboost_v1/{forged}_signature_{digest(manifest)[:12]}.json", signature)
    with pytest.raises(BundleError, match="not of a publisher"):
        move_to(promoter, as_named(home.store, forged))


def test_a_publisher_can_put_an_old_state_back_as_anybody_can(home: Home, owner: SignedStore, ring: KeyRing) -> None:
    """Guards a publisher's key against counting for the channel: neither a running worker nor an expiry gives way."""
    publisher = ring.held_by(home.store, "publisher")
    worker = Predictor.load(ring.held_by(home.store), channel="champion")
    old = home.place.read(history_name(1))
    with pytest.raises(PublicationError, match="no promoter's key"):
        publisher.write(CHAMPION, old)
    home.place.put(CHAMPION, old)
    with pytest.raises(ChannelError, match="went back from serial 2 to 1"):
        worker.refresh("champion")
    assert Predictor.load(ring.held_by(home.store), channel="champion").model.model_id == ids()[0]
    # Once it has expired, the publisher cannot make it current again.
    owner.sign(CHAMPION, old, datetime.now(UTC) - timedelta(days=31))
    with pytest.raises(PublicationError, match="no promoter's key"):
        publisher.sign(CHAMPION, old)
    signature = publisher.signers["publisher"].sign(old, datetime.now(UTC))
    home.place.put(f"xgboost_v1/channels/signatures/{digest(old)}.json", signature)
    with pytest.raises(ChannelError, match="not of a promoter"):
        Predictor.load(ring.held_by(home.store), channel="champion")


def test_a_promoter_cannot_change_a_published_model(home: Home, owner: SignedStore, ring: KeyRing) -> None:
    """Guards the manifest against the promoter's key: neither the client nor a signature of that role changes it."""
    identity, promoter = ids()[1], ring.held_by(home.store, "promoter")
    name = BundleNames.of(identity).manifest
    content = json.loads(home.place.read(name))
    content.pop("manifest_sha256")
    content["verdict"]["thresholds"] = {"max_validation_mae": 99.0}
    digested = {**content, "manifest_sha256": digest((json.dumps(content, sort_keys=True, indent=2) + "\n").encode())}
    data = (json.dumps(digested, sort_keys=True, indent=2) + "\n").encode()
    assert Manifest.from_bytes(data, name).model_id == identity, "without signatures it would be that model's manifest"
    with pytest.raises(PublicationError, match=r"no publisher's key\. Set NBA_ML_PUBLISHER_KEY"):
        promoter.write(name, data)
    home.place.put(name, data)
    signature = promoter.signers["promoter"].sign(data, datetime.now(UTC))
    home.place.put(f"xgboost_v1/{identity}_signature_{digest(data)[:12]}.json", signature)
    # Promoted anew with the digest that it has now, which the promoter's key can sign.
    with pytest.raises(BundleError, match="not of a publisher"):
        move_to(promoter, as_named(home.store, identity))
    present = read_channel(owner)
    assert present is not None
    state = serving(as_named(home.store, identity), present).to_bytes()
    promoter.sign(CHAMPION, state)
    home.place.put(CHAMPION, state)
    with pytest.raises(BundleError, match="not of a publisher"):
        Predictor.load(ring.held_by(home.store), channel="champion")


def test_a_publisher_without_the_right_to_replace_objects_is_enough(
    home: Home, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards roles/storage.objectCreator for the publisher, also for one that completes an interrupted publication."""
    publisher = ring.held_by(home.store, "publisher")
    monkeypatch.setattr(type(home.store), "swap", None)
    identity = published_model(publisher, "2021-11")
    home.place.remove(BundleNames.of(identity).manifest)
    assert published_model(publisher, "2021-11") == identity
    assert published_model(publisher, "2021-11") == identity


# -- keys off, keys on, and other keys -----------------------------------------------------------------


def test_without_trusted_keys_nothing_is_signed_and_everything_is_read(home: Home) -> None:
    """Guards homes of before: with the settings as shipped, no object is added and none refused."""
    move_to(home.store, as_named(home.store, published_model(home.store, "2021-11")))
    assert not [name for name in home.place.names() if "signature" in name]
    assert Predictor.load(home.store, channel="champion").model.model_id == ids()[0]


def test_what_exists_is_signed_on_request_and_verified_before(home: Home, ring: KeyRing) -> None:
    """Guards the way to signatures: a home that has models and a channel, and a model that must not be vouched for."""
    for month in MONTHS:
        move_to(home.store, as_named(home.store, published_model(home.store, month)))
    store = ring.held_by(home.store, "publisher", "promoter")
    with pytest.raises(ChannelError, match="nba-ml keys sign --channel"):
        read_channel(store)
    damaged = BundleNames.of(ids()[0]).record
    whole = home.place.read(damaged)
    home.place.put(damaged, whole + b" ")
    with pytest.raises(BundleError, match="bytes"):
        unsigned_models(store, None)
    home.place.put(damaged, whole)
    found = [*unsigned_models(store, None), *unsigned_states(store)]
    assert [each.name for each in found] == [
        *(BundleNames.of(each).manifest for each in sorted(ids())), history_name(1), history_name(2), CHAMPION,
    ]  # fmt: skip
    for each in found:
        store.sign(each.name, each.data)
    assert [*unsigned_models(store, None), *unsigned_states(store)] == []
    assert Predictor.load(ring.held_by(home.store), channel="champion").model.model_id == ids()[1]


@pytest.mark.usefixtures("owner")
def test_keys_are_rotated_through_the_list(home: Home, ring: KeyRing, tmp_path: Path) -> None:
    """Guards a rotation without a gap: both keys are trusted, everything is signed anew, the old one is removed."""
    new = KeyRing.made_in(tmp_path)
    both = KeyRing(new.files, f"{ring.trusted},{new.trusted}").held_by(home.store, "publisher", "promoter")
    assert Predictor.load(both, channel="champion").model.model_id == ids()[1]
    with pytest.raises(ChannelError, match="is not a trusted key of a promoter"):
        Predictor.load(new.held_by(home.store), channel="champion")
    for each in [*unsigned_models(both, None), *unsigned_states(both)]:
        both.sign(each.name, each.data)
    assert Predictor.load(new.held_by(home.store), channel="champion").model.model_id == ids()[1]


def test_the_channels_signature_is_renewed_without_a_move(home: Home, owner: SignedStore, ring: KeyRing) -> None:
    """Guards a season without a promotion: the pointer's bytes stay, and workers accept it again."""
    before = home.place.read(CHAMPION)
    owner.sign(CHAMPION, before, datetime.now(UTC) - timedelta(days=45))
    with pytest.raises(ChannelError, match="nba-ml keys renew"):
        Predictor.load(ring.held_by(home.store), channel="champion")
    assert Predictor.load(ring.held_by(home.store, days=60), channel="champion").model.model_id == ids()[1]
    renew_channel(owner, datetime.now(UTC))
    assert Predictor.load(ring.held_by(home.store), channel="champion").model.model_id == ids()[1]
    assert home.place.read(CHAMPION) == before


def test_an_old_copy_is_not_renewed(home: Home, owner: SignedStore) -> None:
    """Guards the one step that would make an old copy valid for long."""
    home.place.put(CHAMPION, home.place.read(history_name(1)))
    with pytest.raises(ReleaseError, match="the history ends with 2"):
        renew_channel(owner, datetime.now(UTC))


def test_a_signature_of_the_future_does_not_count(home: Home, owner: SignedStore) -> None:
    """Guards the expiry against a signer whose clock is wrong by years."""
    owner.sign(CHAMPION, home.place.read(CHAMPION), datetime.now(UTC) + timedelta(days=400))
    with pytest.raises(ChannelError, match="days ago"):
        current_only(owner).read(CHAMPION)
    assert owner.read(CHAMPION) is not None, "whoever moves the channel must be able to repair it"
