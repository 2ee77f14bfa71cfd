"""Predictions that were served, kept in a store as JSON lines, to be joined with results later.

Requests never wait for it: they leave their predictions in memory, and a thread writes them. What does not fit, and
what the store refuses, is dropped and counted. No feature values are kept.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from nba_ml.contract.errors import NbaMlError
from nba_ml.serving.http.answers import PREDICTION
from nba_ml.serving.http.logs import say
from nba_ml.serving.prediction import Prediction
from nba_ml.storage.objects import ObjectStore

FOLDER = "served_predictions"
"""Of the objects: `served_predictions/2025-11-02/190500-3f9a1c.jsonl`, by the UTC time of writing."""

MOST_WAITING = 20_000
"""Predictions in memory, some 20 MB: two minutes of 20 slates of the largest evening."""

ROWS_PER_OBJECT = 5_000
"""About 4 MB. So many waiting are written at once."""

WRITE_SECONDS = 60.0
"""Between two writes of fewer than that."""

END_SECONDS = 10.0
"""For the last write when the service ends."""


class PredictionLog:
    """A share of the requests, each with all of its predictions.

    `count` is called with 'written' or 'dropped' and a number of predictions.
    """

    def __init__(self, store: ObjectStore, share: float = 1.0) -> None:
        self.count: Callable[[str, int], None] = lambda _outcome, _rows: None
        self._store = store
        self._share = share
        self._waiting: deque[tuple[datetime, Prediction]] = deque()
        self._offering = threading.Lock()  # small bodies, slates and explanations are answered in three threads
        self._due = threading.Event()
        self._ended = False

    def offer(self, predictions: Sequence[Prediction]) -> None:
        """Keep the predictions of a request, if it is of the share and there is room."""
        if random.random() >= self._share:
            return
        made_at = datetime.now(UTC)
        with self._offering:
            if len(self._waiting) + len(predictions) > MOST_WAITING:
                self.count("dropped", len(predictions))
                return
            self._waiting.extend((made_at, each) for each in predictions)
        if len(self._waiting) >= ROWS_PER_OBJECT:
            self._due.set()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write while the block runs, and what is left at its end, for `END_SECONDS` at most."""
        writer = threading.Thread(target=self._write_until_ended, name="prediction log", daemon=True)
        writer.start()
        try:
            yield
        finally:
            self._ended = True
            self._due.set()
            writer.join(END_SECONDS)

    def _write_until_ended(self) -> None:
        while not self._ended or self._waiting:
            self._due.wait(WRITE_SECONDS)
            if not self._ended:  # from then on nothing waits
                self._due.clear()
            while self._waiting:
                self._write()

    def _write(self) -> None:
        rows = [self._waiting.popleft() for _ in range(min(len(self._waiting), ROWS_PER_OBJECT))]
        lines = (b'{"made_at":"%b",%b\n' % (at.isoformat().encode(), _members(each)) for at, each in rows)
        name = f"{FOLDER}/{datetime.now(UTC):%Y-%m-%d/%H%M%S}-{secrets.token_hex(6)}.jsonl"
        try:
            self._store.create(name, b"".join(lines))
        except Exception as error:  # noqa: BLE001 (the log goes on: without its thread it would drop all that follows)
            self.count("dropped", len(rows))
            failure = str(error) if isinstance(error, NbaMlError) else f"{type(error).__name__}: {error}"
            say(logging.ERROR, "predictions not logged", rows=len(rows), failure=failure)
        else:
            self.count("written", len(rows))


def _members(prediction: Prediction) -> bytes:
    """The JSON object without its opening bracket; of an explained prediction without the explanation."""
    return PREDICTION.dump_json(prediction, exclude={"explanation"}, warnings=False)[1:]
