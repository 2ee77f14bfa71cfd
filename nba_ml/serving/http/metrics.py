"""Counters of the HTTP service, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nba_ml.contract.features import FEATURE_VERSIONS
from nba_ml.serving.predictor import Predictor
from nba_ml.serving.rows import KEYS, Fault
from nba_ml.serving.watch import Watch

_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Seconds. A single prediction takes about one millisecond, a slate about ten."""

_FIELDS = frozenset((*(name for version in FEATURE_VERSIONS.values() for name in version.names), *KEYS))


class ServiceMetrics:
    """The counters of one application, in a registry of its own."""

    def __init__(self, predictor: Predictor, watch: Callable[[], Watch | None]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter("nba_ml_requests", "Requests answered.", ["path", "status"], registry=self.registry)
        self._seconds = Histogram(
            "nba_ml_request_seconds", "Seconds to answer.", ["path"], buckets=_BUCKETS, registry=self.registry
        )
        self._predictions = Counter(
            "nba_ml_predictions", "Rows predicted, by model.", ["model_version"], registry=self.registry
        )
        self._faults = Counter(
            "nba_ml_row_faults", "Faults for which rows were refused, by feature.", ["field"], registry=self.registry
        )
        self._logged = Counter(
            "nba_ml_logged_predictions", "Served predictions, by what the log did.", ["outcome"], registry=self.registry
        )
        self._of_answers: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(_ModelState(predictor, watch))

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer; `path` is one of few."""
        key = path, status
        if key not in self._of_answers:
            self._of_answers[key] = self._requests.labels(path, str(status)), self._seconds.labels(path)
        requests, duration = self._of_answers[key]
        requests.inc()
        duration.observe(seconds)

    def predicted(self, model_version: str, rows: int) -> None:
        """Count rows that were predicted."""
        self._predictions.labels(model_version).inc(rows)

    def logged(self, outcome: str, rows: int) -> None:
        """Count predictions that the log has 'written' or 'dropped'."""
        self._logged.labels(outcome).inc(rows)

    def refused(self, faults: tuple[Fault, ...]) -> None:
        """Count faults by field. Unknown names are counted together: a client may send any."""
        for fault in faults:
            self._faults.labels(fault.field if fault.field in _FIELDS else "other").inc()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


class _ModelState(Collector):
    """The models in use and the state of following the channel, read when Prometheus scrapes."""

    def __init__(self, predictor: Predictor, watch: Callable[[], Watch | None]) -> None:
        self._predictor = predictor
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        serving, watch = self._predictor.serving, self._watch()
        model, challenger = serving.model, serving.challenger
        info = GaugeMetricFamily(
            "nba_ml_model_info",
            "The models in use.",
            labels=["role", "model_version", "model_sha256", "newest_month"],
        )
        for role, each in (("champion", model), ("challenger", challenger)):
            if each is not None:
                info.add_metric([role, each.model_id, each.model_sha256, each.newest_month], 1)
        yield info
        yield GaugeMetricFamily(
            "nba_ml_model_loaded_timestamp_seconds", "When it was loaded.", value=model.loaded_at.timestamp()
        )
        if watch is None:
            return
        status = watch.status
        yield GaugeMetricFamily(
            "nba_ml_refresh_failing", "Failed refreshes in a row; 0 is healthy.", value=status.failures
        )
        yield CounterMetricFamily("nba_ml_refresh_failures", "Refreshes that failed.", value=status.failures_ever)
        if status.checked_at is not None:
            yield GaugeMetricFamily(
                "nba_ml_refresh_success_timestamp_seconds",
                "When the channel was last read and followed.",
                value=status.checked_at.timestamp(),
            )
