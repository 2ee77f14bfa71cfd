"""The predictor that a worker holds: the verified model that a channel names, swapped whole, and no fallback.

Every call to `predict` uses one state of the channel from its first row to its last: the champion and, while a
rollout runs, the challenger on its share. Each record carries the id and the digest of the model that made it. A swap
replaces everything in one assignment; who was predicting goes on with what it began with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, overload

from nba_ml.core.channel import Channel
from nba_ml.core.errors import ChannelError, NbaMlError, SettingsError
from nba_ml.core.object_store import ObjectStore
from nba_ml.core.rollout import bucket_of
from nba_ml.serving.loaded import Loaded
from nba_ml.serving.model import load_model
from nba_ml.serving.others import load_other
from nba_ml.serving.prediction import Prediction
from nba_ml.serving.rows import Rows, read_rows
from nba_ml.serving.sources import ManifestRef, Named, Ref, locate, read_named, reader

_DAY = 86_400
"""Seconds."""


class Predictor:
    """Predicts points with a published model. Made by `load`; safe to share between threads."""

    def __init__(self, store: ObjectStore, named: Named, threads: int | None, try_apart: bool) -> None:
        """Use `load`."""
        self._store = store
        self._threads = threads
        self._try_apart = try_apart
        self._swapping = threading.Lock()
        self._current = self._loaded(named, {})

    @classmethod
    def load(
        cls,
        source: str | ObjectStore,
        *,
        channel: str | None = None,
        model_id: str | None = None,
        threads: int | None = 1,
        try_apart: bool = True,
    ) -> Predictor:
        """Load a published model and verify all of it.

        Args:
            source: `gs://bucket/prefix`, a directory or `file://...` with a channel or a model id; or the address of
                a model's manifest alone, `gs://bucket/prefix/xgboost_v1/<model_id>_manifest.json`. An open store
                (`CloudStore(bucket, prefix, client)`) stands for a root with credentials of your own.
            channel: the pointer to follow, `champion`.
            threads: that the booster predicts with; None for all cores. They change the speed only.
            try_apart: let a fresh process load every model first, so that one that kills XGBoost's parser does not
                kill this one. False saves half a second.

        Raises:
            BundleError: anything about the bundle is missing, damaged or not as stated, or the channel is not there.
            ChannelError: the channel's pointer is damaged.
            SettingsError: the arguments name no model, or the place cannot be used.
            MissingExtraError: the model is a CatBoost, and CatBoost is not installed.
            PublicationError: the place refuses, or cannot be reached.
        """
        store, named = locate(source, channel=channel, model_id=model_id)
        return cls(store, named, threads, try_apart)

    @property
    def serving(self) -> Serving:
        """All that serves now, of one moment: between two looks at the properties below a swap may come."""
        return self._current

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
    def predict(self, rows: Mapping[str, Any]) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, rows: object) -> list[Prediction]: ...

    def predict(self, rows: object) -> Prediction | list[Prediction]:
        """Predict one row or many.

        Args:
            rows: a mapping of the 33 feature names to numbers; or n rows as a list of such mappings, a pandas
                DataFrame or an Arrow table with such columns. Order does not matter, names do. None and NaN are
                missing. `player_lookup`, `game_date` and `game_id` may stand beside them and come back.

        Returns:
            A record for a mapping, else n records in the order of the rows.

        Raises:
            FeatureRowsError: a row breaks the contract; says where and how. Nothing was predicted.
            BundleError: the model's output is not finite.
        """
        predicted = self._current.predict(read_rows(rows))
        return predicted[0] if isinstance(rows, Mapping) else predicted

    def refresh(self, channel: str) -> bool:
        """Follow the channel once: load what it names and is not loaded yet, and serve that from then on.

        Returns:
            Whether a model was swapped.

        Raises:
            NbaMlError: as in `load`; or the channel is in an older state than the one that is followed. What serves
                stays as it is.
        """
        with self._swapping:
            before = self._current
            named = read_named(self._store, channel)
            _require_no_older(before.named, named)
            self._current = now = self._loaded(named, before.by_ref())
            return now.model is not before.model or now.challenger is not before.challenger

    def _loaded(self, named: Named, loaded: Mapping[Ref, Loaded]) -> Serving:
        """The models that are named, each loaded unless it is already, from the very same manifest."""

        def model_of(ref: Ref) -> Loaded:
            if ref in loaded:
                return loaded[ref]
            if isinstance(ref, ManifestRef):
                return load_model(reader(self._store, ref), ref.name, threads=self._threads, try_apart=self._try_apart)
            return load_other(self._store, ref, threads=self._threads, try_apart=self._try_apart)

        return Serving(
            model=model_of(named.model),
            challenger=None if named.challenger is None else model_of(named.challenger),
            named=named,
        )

    def watch(self, channel: str, seconds: float, *, tell: Callable[[WatchStatus], object] | None = None) -> Watch:
        """Follow the channel in a thread of its own, every so many seconds, until the watch is stopped.

        A refresh that fails leaves the model that serves; the watch's `status` says so, and `tell` is given it.

        Args:
            tell: called in the watch's thread after each swap, each failure and each recovery. It must not raise.

        Raises:
            SettingsError: `seconds` is not above 0 and at most a day.
        """
        return Watch(self, channel, seconds, tell)


def _require_no_older(before: Named, named: Named) -> None:
    """A channel's serial only rises. An older state is a stale read or an old copy: a champion long replaced."""
    was, now = before.state, named.state
    if was is not None and now is not None and before.channel == named.channel and now.serial < was.serial:
        raise ChannelError(
            f"The channel {named.channel} went back from serial {was.serial} to {now.serial} "
            f"({now.champion.model_id}): it was restored from an old copy, or read from a stale one. It is not "
            "followed. Restore the newest state from channels/history/, and roll back with `nba-ml champion rollback`; "
            "if it was begun anew on purpose, start this worker again."
        )


@dataclass(frozen=True, slots=True)
class Serving:
    """The models and what named them, replaced together."""

    model: Loaded
    challenger: Loaded | None
    named: Named

    @property
    def state(self) -> Channel | None:
        """The state of the channel that named the models; None where no channel did."""
        return self.named.state

    def by_ref(self) -> dict[Ref, Loaded]:
        """The models by what named them."""
        loaded = {self.named.model: self.model}
        if self.named.challenger is not None and self.challenger is not None:
            loaded[self.named.challenger] = self.challenger
        return loaded

    def predict(self, rows: Rows) -> list[Prediction]:
        """Each row by the model that serves it: in a rollout the hash of player and date decides.

        A row that does not say whose it is, and when, is the champion's.
        """
        state = self.state
        if self.challenger is None or state is None:
            return self.model.predict(rows)
        sides: tuple[list[int], list[int]] = ([], [])
        for index, (player, day) in enumerate(zip(rows.player_lookup, rows.game_date, strict=True)):
            served = player is not None and day is not None and bucket_of(player, day) < state.share
            sides[served].append(index)
        predicted: dict[int, Prediction] = {}
        for model, indices in zip((self.model, self.challenger), sides, strict=True):
            predicted.update(zip(indices, model.predict(rows.take(indices)), strict=True))
        return [predicted[index] for index in range(len(predicted))]


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """How following a channel goes. Times are UTC.

    `checked_at` is the last time that the channel was read and followed, `swapped_at` the last time that it named
    another model. `failure` is what the last refresh failed with, None when it went well; `failures` counts those
    in a row, `failures_ever` all of them.
    """

    channel: str
    seconds: float
    checked_at: datetime | None = None
    swapped_at: datetime | None = None
    failure: str | None = None
    failed_at: datetime | None = None
    failures: int = 0
    failures_ever: int = 0


def require_period(seconds: float) -> None:
    """Pass silently for a time between two looks at a channel.

    Raises:
        SettingsError: it is none: not above 0 s, over a day, or not a number.
    """
    if not 0 < seconds <= _DAY:  # which NaN is not either
        raise SettingsError(
            f"A channel cannot be read every {seconds} seconds. Give a number above 0 and at most {_DAY:,}, a day."
        )


class Watch:
    """A thread that refreshes a predictor. A context manager: leaving it stops the thread."""

    def __init__(
        self, predictor: Predictor, channel: str, seconds: float, tell: Callable[[WatchStatus], object] | None
    ) -> None:
        require_period(seconds)
        self._predictor = predictor
        self._tell = tell
        self._status = WatchStatus(channel, seconds, checked_at=predictor.model.loaded_at)
        self._stopped = threading.Event()
        # A daemon: a store that does not answer must not keep a worker from ending.
        self._thread = threading.Thread(target=self._run, name=f"watch-{channel}", daemon=True)
        self._thread.start()

    @property
    def status(self) -> WatchStatus:
        return self._status

    @property
    def alive(self) -> bool:
        """Whether it still follows the channel."""
        return self._thread.is_alive()

    def stop(self, within: float = 5.0) -> None:
        """End the watch; wait for the thread at most so many seconds."""
        self._stopped.set()
        self._thread.join(within)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopped.wait(self._status.seconds):
            self._check()

    def _check(self) -> None:
        before = self._status
        try:
            swapped = self._predictor.refresh(before.channel)
        except NbaMlError as error:
            self._failed(str(error))
        except Exception as error:  # whatever it was, the watch goes on, and says so: a dead one would look healthy
            self._failed(f"{type(error).__name__}: {error}")
        else:
            now = datetime.now(UTC)
            self._status = replace(
                before,
                checked_at=now,
                swapped_at=now if swapped else before.swapped_at,
                failure=None,
                failed_at=None,
                failures=0,
            )
            if swapped or before.failure:
                self._say()

    def _failed(self, failure: str) -> None:
        self._status = replace(
            self._status,
            failure=failure,
            failed_at=datetime.now(UTC),
            failures=self._status.failures + 1,
            failures_ever=self._status.failures_ever + 1,
        )
        self._say()

    def _say(self) -> None:
        if self._tell is not None:
            self._tell(self._status)
