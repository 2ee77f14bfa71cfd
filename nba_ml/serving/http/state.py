"""What the routes of the service share: the predictor, the watch of its channel, and the counters."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import xgboost as xgb
from starlette.responses import Response
from starlette.types import Scope

from nba_ml.contract.errors import FeatureRowsError, NbaMlError
from nba_ml.serving.http.access import Access
from nba_ml.serving.http.answers import (
    EXPLAINED,
    EXPLAINED_SLATE,
    PREDICTION,
    PREDICTIONS,
    ChannelHealth,
    Health,
    ServedModel,
)
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.logs import say
from nba_ml.serving.http.metrics import ServiceMetrics
from nba_ml.serving.http.prediction_log import PredictionLog
from nba_ml.serving.http.problems import Problem, without_paths
from nba_ml.serving.http.requests import parse_rows, require_few
from nba_ml.serving.predictor import Predictor, Serving
from nba_ml.serving.rows import without_values
from nba_ml.serving.watch import Watch, WatchStatus

_TERSE = "Rows break the contract. No predictions were made: correct these fields, or leave their rows out."


class ServiceState:
    """What the routes share."""

    def __init__(
        self,
        predictor: Predictor,
        access: Access = Access(),  # noqa: B008 - frozen
        prediction_log: PredictionLog | None = None,
    ) -> None:
        self.predictor = predictor
        self._terse = access.terse
        self.watch: Watch | None = None
        self.metrics = ServiceMetrics(predictor, lambda: self.watch)
        self._log = prediction_log
        if prediction_log is not None:
            prediction_log.count = self.metrics.logged
        self._started = time.monotonic()

    def tell(self, status: WatchStatus) -> None:
        """Log what became of a refresh."""
        if status.failure is not None:
            say(logging.ERROR, "refresh failed", failure=status.failure, in_a_row=status.failures)
        else:
            serving = self.predictor.serving
            say(logging.INFO, "refreshed", **_channel(serving), **model_fields(serving))

    def predict(self, body: bytes | bytearray, limits: Limits, scope: Scope) -> Response:
        """The answer to a body."""
        given = parse_rows(body, limits)
        records = self._records(self.predictor.predict, given, scope)
        if isinstance(given, list):
            return json_response(PREDICTIONS.dump_json({"predictions": records}))
        return json_response(PREDICTION.dump_json(records[0]))

    def explain(self, body: bytes | bytearray, limits: Limits, scope: Scope) -> Response:
        """As `predict`, with each feature's contribution."""
        given = parse_rows(body, limits)
        require_few(given, limits)
        records = self._records(self.predictor.explain, given, scope)
        if isinstance(given, list):
            return json_response(EXPLAINED_SLATE.dump_json({"predictions": records}))
        return json_response(EXPLAINED.dump_json(records[0]))

    def _records(self, make: Callable[..., Any], given: object, scope: Scope) -> list[Any]:
        """The records of rows, counted."""
        try:
            records: list[Any] = make(given if isinstance(given, list) else [given], line_as_flagged=True)
        except FeatureRowsError as error:
            self.metrics.refused(error.faults)
            if self._terse:
                faults = [without_values(each) for each in error.faults]
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, _TERSE, faults) from None
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), error.faults) from None
        except NbaMlError as error:
            detail = without_paths(str(error), self.predictor.root)
            raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail) from error
        served = Counter((record.model_version, record.model_sha256) for record in records)
        for (version, _), count in served.items():
            self.metrics.predicted(version, count)
        if self._log is not None:
            self._log.offer(records)
        scope["nba_ml"] = {"rows": len(records), "model_sha256": [sha256 for _, sha256 in served]}
        return records

    def health(self) -> Health:
        """The answer of `/health`. 'degraded' still serves: its model is good, but perhaps no longer the champion."""
        serving, watch = self.predictor.serving, self.watch
        loaded_at = serving.model.loaded_at
        following, channel = True, None
        if watch is not None:
            # Each is read once: the thread of the watch may change it in between.
            alive, overdue, status = watch.alive, watch.overdue, watch.status
            failure = status.failure and without_paths(status.failure, self.predictor.root)
            told = {**asdict(status), "failure": failure}
            channel = ChannelHealth(**_channel(serving), following=alive, overdue=overdue, **told)
            following = alive and not overdue and failure is None
        return Health(
            status="ok" if following else "degraded",
            loaded=True,
            verified=True,
            model=ServedModel(**model_fields(serving)),
            loaded_at=loaded_at,
            age_seconds=round((datetime.now(UTC) - loaded_at).total_seconds(), 3),
            uptime_seconds=round(time.monotonic() - self._started, 3),
            xgboost=xgb.__version__,
            channel=channel,
        )


def model_fields(serving: Serving) -> dict[str, Any]:
    """The identity of the model that serves."""
    model = serving.model
    return {
        "system_id": model.identity.system_id,
        "model_type": model.identity.model_type,
        "model_id": model.model_id,
        "model_sha256": model.model_sha256,
        "feature_version": model.identity.feature_version,
        "newest_month": model.newest_month,
    }


def _channel(serving: Serving) -> dict[str, Any]:
    state, challenger = serving.state, serving.challenger
    return {
        "serial": None if state is None else state.serial,
        "challenger": None if challenger is None else challenger.model_id,
        "challenger_type": None if challenger is None else challenger.identity.model_type,
        "share": 0 if state is None else state.share,
    }


def json_response(content: bytes | str) -> Response:
    """A response of JSON text."""
    return Response(content, media_type="application/json")
