"""The predictor of a worker: the verified model that a channel names, replaced as a whole, with no fallback.

Every call to `predict` uses one state of the channel from its first row to its last: the champion and, while a
rollout runs, the challenger on its share. Each record carries the id and the digest of the model that made it. A swap
replaces everything in one assignment; a call in progress finishes with the state it started with.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, overload

from nba_ml.contract.errors import ChannelError, FeatureRowsError, MissingExtraError, SettingsError
from nba_ml.contract.features import FeatureVersion
from nba_ml.registry.channel import Channel, ChannelModel
from nba_ml.registry.learners.catboost import CATBOOST
from nba_ml.registry.reader import reads_from
from nba_ml.registry.rollout_rules import bucket_of
from nba_ml.serving.external import load_other
from nba_ml.serving.loaded import Loaded
from nba_ml.serving.memory import ChannelMemory
from nba_ml.serving.model import load_model
from nba_ml.serving.prediction import ExplainedPrediction, Prediction
from nba_ml.serving.rows import FeatureRows, joint_version, list_rows, of_rows, player_and_date, read_rows
from nba_ml.serving.sources import ManifestRef, ModelSelection, Ref, locate, read_named, within
from nba_ml.serving.watch import Watch, WatchStatus
from nba_ml.storage.objects import ObjectStore

T = TypeVar("T")

READ_SECONDS = 10.0
"""How long a store may delay a refresh. The first load is worth minutes of retries. A refresh is not: the next one
comes soon, and a failure is visible only after it ends."""


class Predictor:
    """Predicts points with a published model. Made by `load`; safe to share between threads."""

    def __init__(
        self, store: ObjectStore, named: ModelSelection, threads: int | None, try_apart: bool, remember: Path | None
    ) -> None:
        """Use `load`."""
        self._store = store
        self._memory = (
            None if remember is None or named.pointer is None else ChannelMemory(remember, store.uri(named.pointer))
        )
        if self._memory is not None and named.state is not None:
            self._memory.require_no_older(named.state)
        self._threads = threads
        self._try_apart = try_apart
        self._process = os.getpid()
        self._swapping = threading.Lock()
        self._current = self._loaded(store, named, {})
        self._remember(named)

    @classmethod
    def load(
        cls,
        source: str | ObjectStore,
        *,
        channel: str | None = None,
        model_id: str | None = None,
        threads: int | None = 1,
        try_apart: bool = True,
        remember: str | Path | None = None,
    ) -> Predictor:
        """Load a published model and verify all of it.

        For the calling process only: a server that forks workers must load in each worker, after the fork (gunicorn:
        without `--preload`). In a child process of the one that loaded it, a predictor raises.

        Args:
            source: `gs://bucket/prefix`, a directory or `file://...` with a channel or a model id; or the address of
                a model's manifest, `gs://bucket/prefix/xgboost_v1/<model_id>_manifest.json`. An open store
                (`CloudStore(bucket, prefix, client)`) is a root with your own credentials.
            channel: the pointer to follow, `champion`.
            threads: that the booster predicts with; None for all cores. They change the speed only.
            try_apart: load every model in a fresh process first, so that a model that crashes XGBoost's parser does
                not crash this process. False saves half a second.
            remember: a file for the state of the channel that is served. A predictor that is loaded with the same file
                later, after a restart, refuses an older state.

        Raises:
            BundleError: a part of the bundle is missing, damaged or not as stated, or the channel does not exist.
            ChannelError: the channel's pointer is damaged, or older than the state in `remember`.
            SettingsError: the arguments name no model, or the source or the file `remember` cannot be used.
            MissingExtraError: the model is a registered model, and its learner is not installed.
            PublicationError: the store denies access, or cannot be reached.
        """
        store, named = locate(source, channel=channel, model_id=model_id)
        return cls(store, named, threads, try_apart, None if remember is None else Path(remember))

    @property
    def serving(self) -> Serving:
        """Everything that serves now, read at once: a swap may come between two reads of the properties below."""
        return self._current

    @property
    def root(self) -> str:
        """The address of the store, with a slash at its end."""
        return self._store.uri("x").removesuffix("x")

    @property
    def model(self) -> Loaded:
        """The model that serves now: the champion, where a channel names it."""
        return self.serving.model

    @property
    def challenger(self) -> Loaded | None:
        """The system that serves the channel's share of the player-games; None without a rollout."""
        return self.serving.challenger

    @property
    def channel_state(self) -> Channel | None:
        """The state of the channel that named the models; None where no channel did."""
        return self.serving.state

    # A mapping is an object too, so mypy sees an overlap; there the first signature is the one that holds.
    @overload
    def predict(self, rows: Mapping[str, Any], *, line_as_flagged: bool = False) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, rows: object, *, line_as_flagged: bool = False) -> list[Prediction]: ...

    def predict(self, rows: object, *, line_as_flagged: bool = False) -> Prediction | list[Prediction]:
        """Predict one row or many.

        Args:
            rows: a mapping of feature names to numbers, those of the model that serves it; or n rows as a list of such
                mappings, a pandas DataFrame or an Arrow table with such columns. Order does not matter, names do. None
                and NaN are missing. `player_lookup`, `game_date` and `game_id` are optional and returned with the
                prediction. Features that only another version has are left out. Rows that `read_rows` has read are
                taken as they are.
            line_as_flagged: as `read_rows` has it.

        Returns:
            A record for a mapping, else n records in the order of the rows.

        Raises:
            FeatureRowsError: a row breaks the contract; lists the row and field of each fault. No predictions are made.
            BundleError: the model's output is not finite.
            SettingsError: another process than this one loaded the predictor.
        """
        self._require_own_process()
        predicted = self._current.predict(rows, line_as_flagged=line_as_flagged)
        return predicted[0] if isinstance(rows, Mapping) else predicted

    def explain(self, rows: object, *, line_as_flagged: bool = False) -> list[ExplainedPrediction]:
        """As `predict`, with what each feature contributed to each record; a list for a mapping too.

        Some milliseconds for each row. A rule's records say that there is nothing to explain.
        """
        self._require_own_process()
        return self._current.explain(rows, line_as_flagged=line_as_flagged)

    def refresh(self, channel: str) -> bool:
        """Follow the channel once: load what it names and is not loaded yet, and serve that from then on.

        Returns:
            Whether a model was swapped.

        Raises:
            NbaMlError: as in `load`; or the channel's state is older than the one in use. The models in use stay.
        """
        self._require_own_process()
        with self._swapping:
            before = self._current
            store = within(self._store, READ_SECONDS)
            named = read_named(store, channel)
            _require_no_older(before.named, named)
            now = self._loaded(store, named, before.by_ref())
            if named.state != before.state:
                self._remember(named)
            self._current = now
            return now.model is not before.model or now.challenger is not before.challenger

    def _loaded(self, store: ObjectStore, named: ModelSelection, loaded: Mapping[Ref, Loaded]) -> Serving:
        """The selected models. Each is loaded, unless it is loaded already from the same manifest."""

        def model_of(ref: Ref) -> Loaded:
            if ref in loaded:
                return loaded[ref]
            if isinstance(ref, ManifestRef):
                return load_model(
                    reads_from(store),
                    ref.name,
                    manifest_sha256=ref.sha256,
                    threads=self._threads,
                    try_apart=self._try_apart,
                )
            try:
                return load_other(store, ref, threads=self._threads, try_apart=self._try_apart)
            except MissingExtraError as error:
                raise MissingExtraError(_lacking(error, ref, named)) from error

        return Serving(
            model=model_of(named.model),
            challenger=None if named.challenger is None else model_of(named.challenger),
            named=named,
        )

    def _remember(self, named: ModelSelection) -> None:
        """Before the state is served: where it cannot be written, a restart could go back behind it unnoticed."""
        if self._memory is not None and named.state is not None:
            self._memory.keep(named.state)

    def _require_own_process(self) -> None:
        """Raise SettingsError in any process but the one that loaded the models."""
        if os.getpid() != self._process:
            raise SettingsError(
                f"Process {os.getpid()} uses a predictor that process {self._process} loaded before it forked. A fork "
                "does not copy threads: the channel would not be followed, so an old model would serve on, and XGBoost "
                "would wait forever for its own threads. Load the predictor in each worker, after the fork (gunicorn: "
                "without --preload)."
            )

    def watch(self, channel: str, seconds: float, *, tell: Callable[[WatchStatus], object] | None = None) -> Watch:
        """Follow the channel in a thread, every `seconds`, until the watch is stopped.

        After a failed refresh the models in use stay; the failure is in the watch's `status` and passed to `tell`.

        Args:
            tell: called in the watch's thread after each swap, each failure and each recovery. It must not raise.

        Raises:
            SettingsError: `seconds` is not above 0 and at most a day, or another process loaded the predictor.
        """
        self._require_own_process()
        return Watch(self.refresh, channel, seconds, checked_at=self.model.loaded_at, tell=tell)


def _lacking(error: MissingExtraError, ref: ChannelModel, named: ModelSelection) -> str:
    """How to proceed without a library that a model needs: install it, or stop serving the model."""
    image = (
        "In the serving image: docker build --build-arg EXTRA=catboost."
        if ref.system_id == CATBOOST.system_id
        else "The serving image does not have it: install it in an image built on that one."
    )
    install = f"{error} {image}"
    if named.channel is None:
        return install
    role, command = ("challenger", "rollout stop") if ref == named.challenger else ("champion", "champion rollback")
    return (
        f"{install} {ref.model_id} is the {role} of the channel {named.channel}, and no other model predicts in its "
        f"place. To serve without it now: `nba-ml {command} --reason ...`."
    )


def _require_no_older(before: ModelSelection, named: ModelSelection) -> None:
    """A channel's serial only rises. An older state is a stale read or an old copy, with a champion since replaced.

    Another state of the same serial is one that lost the race to be recorded, or was written past the history.
    """
    was, now = before.state, named.state
    if was is None or now is None or before.channel != named.channel:
        return
    if now.serial == was.serial and now != was:
        raise ChannelError(
            f"The channel {named.channel} holds another state of serial {was.serial} ({now.champion.model_id}) than "
            f"the one in use ({was.champion.model_id}), which stays in use. Restore the pointer from "
            "channels/history/; if the channel was recreated on purpose, restart this worker."
        )
    if now.serial < was.serial:
        raise ChannelError(
            f"The channel {named.channel} went back from serial {was.serial} to {now.serial} "
            f"({now.champion.model_id}): it was restored from an old copy, or the read was stale. The newer state "
            "stays in use. Restore the newest state from channels/history/, and roll back with `nba-ml champion "
            "rollback`; if it was recreated on purpose, restart this worker."
        )


@dataclass(frozen=True, slots=True)
class Serving:
    """The models and the selection that named them, replaced together."""

    model: Loaded
    challenger: Loaded | None
    named: ModelSelection

    @property
    def state(self) -> Channel | None:
        """The state of the channel that named the models; None where no channel did."""
        return self.named.state

    @property
    def features(self) -> FeatureVersion:
        """What a row needs, whichever of the models serves it."""
        return joint_version(self.model.features, (self.challenger or self.model).features)

    def by_ref(self) -> dict[Ref, Loaded]:
        """The models by their references."""
        loaded = {self.named.model: self.model}
        if self.named.challenger is not None and self.challenger is not None:
            loaded[self.named.challenger] = self.challenger
        return loaded

    def predict(self, rows: object, *, line_as_flagged: bool = False) -> list[Prediction]:
        """Each row by the model that serves it: in a rollout the hash of player and date decides.

        A row without a player or a date goes to the champion.
        """
        return self._by_side(rows, line_as_flagged, lambda model, part: model.predict(part))

    def explain(self, rows: object, *, line_as_flagged: bool = False) -> list[ExplainedPrediction]:
        """As `predict`, each record with what the features contributed."""
        return self._by_side(rows, line_as_flagged, lambda model, part: model.explain(part))

    def _by_side(
        self, given: object, line_as_flagged: bool, records: Callable[[Loaded, FeatureRows], list[T]]
    ) -> list[T]:
        if self.challenger is None or self.state is None:
            return records(self.model, read_rows(given, self.model.features, line_as_flagged=line_as_flagged))
        if self.model.features == self.challenger.features:
            rows = read_rows(given, self.model.features, line_as_flagged=line_as_flagged)
            keys = zip(rows.player_lookup, rows.game_date, strict=True)
            sides = self._sides(None if player is None or day is None else (player, day) for player, day in keys)
            parts = [rows.take(indices) for indices in sides]
        else:
            listed = list_rows(given)
            sides = self._sides(map(player_and_date, listed))
            parts = self._read_apart(listed, sides, line_as_flagged)
        predicted: dict[int, T] = {}
        for model, indices, part in zip((self.model, self.challenger), sides, parts, strict=True):
            predicted.update(zip(indices, records(model, part), strict=True))
        return [predicted[index] for index in range(len(predicted))]

    def _sides(self, keys: Iterable[tuple[str, date] | None]) -> tuple[list[int], list[int]]:
        """The indices of the rows that the champion serves, and of those that the challenger serves."""
        share = self.state.share if self.state else 0
        sides: tuple[list[int], list[int]] = ([], [])
        for index, key in enumerate(keys):
            sides[key is not None and bucket_of(*key) < share].append(index)
        return sides

    def _read_apart(
        self, listed: Sequence[object], sides: Sequence[Sequence[int]], line_as_flagged: bool
    ) -> list[FeatureRows]:
        """The rows of each side in the version of its model.

        Raises:
            FeatureRowsError: as `read_rows`; of the side that has faults first.
        """
        parts = []
        for model, indices in zip((self.model, self.challenger), sides, strict=True):
            version = model.features if model else self.model.features
            try:
                parts.append(read_rows([listed[i] for i in indices], version, line_as_flagged=line_as_flagged))
            except FeatureRowsError as error:
                raise of_rows(error, indices) from None
        return parts
