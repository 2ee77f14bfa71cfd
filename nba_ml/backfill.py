"""Month by month through the graph, in one warm process, doing only what is needed.

What belongs here: deciding which assets of a month are out of date, and running them as Dagster runs.
What does not: talking to a person (`cli`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from nba_ml.assets import CHAIN
from nba_ml.assets.recording import INPUTS
from nba_ml.assets.xgboost_model import parameters_digest
from nba_ml.checks.registry import all_checks
from nba_ml.core.errors import StaleInputError
from nba_ml.core.lineage import inputs_digest
from nba_ml.core.object_store import ObjectStore
from nba_ml.core.training import Hyperparameters
from nba_ml.core.values import Artifact
from nba_ml.home import PID_TAG, fail_orphaned_runs
from nba_ml.partitions import EVERY_MONTH_SO_FAR
from nba_ml.resources.feature_source import EmbeddedFeatureSource
from nba_ml.resources.month_store import MonthStore

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's log goes to its own storage, where the UI shows it; the terminal belongs to the progress."""


@dataclass(frozen=True, slots=True)
class Materialised:
    """The latest materialisation of an asset's month: the digest of its value and of its inputs."""

    digest: str
    inputs: str


@dataclass(frozen=True, slots=True)
class MonthResult:
    """What was done for a month. `problems` in words, empty if it succeeded; `warnings` are failed WARN checks."""

    month: str
    assets: tuple[str, ...]
    run_id: str | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class Backfill:
    """The graph, an instance to record in, and what is known of earlier materialisations."""

    defs: dg.Definitions
    instance: dg.DagsterInstance
    store: MonthStore
    artifacts: ObjectStore
    source: EmbeddedFeatureSource
    months: Sequence[str]
    _state: dict[str, dict[str, Materialised]] = field(default_factory=dict)
    _jobs: dict[tuple[str, ...], dg.JobDefinition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._graph = self.defs.resolve_asset_graph()
        for asset in CHAIN:
            self._state[asset] = self._completed(asset)

    def run(self, months: Sequence[str], assets: Sequence[str], *, only_missing: bool) -> Iterator[MonthResult]:
        """Run the assets of each month, in order, yielding after each; stops after the first month that failed."""
        for month in months:
            needed = self.out_of_date(month, assets) if only_missing else tuple(assets)
            result = self.run_month(month, needed) if needed else MonthResult(month, ())
            yield result
            if result.problems:
                return

    def out_of_date(self, month: str, assets: Sequence[str]) -> tuple[str, ...]:
        """Those of the assets that were never materialised for the month, from other inputs, or never checked."""
        needed: list[str] = []
        for asset in (a for a in CHAIN if a in assets):
            done = self._state[asset].get(month)
            parents = {key.to_user_string() for key in self._graph.get(dg.AssetKey(asset)).parent_keys}
            if done is None or parents & set(needed) or done.inputs != self._inputs(asset, month):
                needed.append(asset)
        return tuple(needed)

    def run_month(self, month: str, assets: tuple[str, ...]) -> MonthResult:
        """One Dagster run of the assets and their checks.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM came while it ran. The run is not left unfinished.
        """
        if assets not in self._jobs:
            whole = self.defs.resolve_implicit_global_asset_job_def()
            self._jobs[assets] = whole.get_subset(asset_selection=frozenset(dg.AssetKey(a) for a in assets))
        with _signals_noticed() as interrupted:
            try:
                result = self._jobs[assets].execute_in_process(
                    instance=self.instance,
                    partition_key=month,
                    run_config=_QUIET,
                    raise_on_error=False,
                    tags={PID_TAG: str(os.getpid())},
                )
            except BaseException as error:
                fail_orphaned_runs(self.instance)
                if interrupted():
                    raise KeyboardInterrupt from error
                raise
            if interrupted():
                raise KeyboardInterrupt
        self._remember(result, month, assets)
        failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
        blocking = {(c.asset, c.name) for c in all_checks() if c.blocking}
        said = {
            must: tuple(
                f"{e.check_name} on {e.asset_key.to_user_string()}: {e.description}"
                for e in failed
                if ((e.asset_key.to_user_string(), e.check_name) in blocking) is must
            )
            for must in (True, False)
        }
        problems = (
            () if result.success else (said[True] or tuple(_errors(result)) or ("the run failed; see it in the UI",))
        )
        return MonthResult(month, assets, run_id=result.run_id, problems=problems, warnings=said[False])

    def _completed(self, asset: str) -> dict[str, Materialised]:
        """Month -> latest materialisation, where its value is whole in the store and its checks ran on it.

        A process killed between a materialisation and its checks left something that no publisher
        would accept: it is not complete, and is run again.
        """
        key = dg.AssetKey(asset)
        complete = self._stored(asset) & self._checked(asset)
        found: dict[str, Materialised] = {}
        # Newest first; a month may have been materialised often.
        cursor: str | None = None
        while True:
            page = self.instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=500, cursor=cursor)
            for record in page.records:
                event = record.asset_materialization
                month = record.partition_key
                if event is not None and month in complete and month not in found:
                    found[month] = _materialised(event)
            if not page.has_more:
                return found
            cursor = page.cursor

    def _stored(self, asset: str) -> set[str]:
        """Months whose value is there, with all that it refers to: its booster, its published objects."""
        there = {self.store.objects.uri(name) for name in self.store.objects.names(f"{asset}/")}
        months = {month for month in self.months if self.store.uri(asset, month) in there}
        match asset:
            case "xgboost_model":
                return {month for month in months if self._has_booster(month)}
            case "gcs_artifact":
                published = {self.artifacts.uri(name) for name in self.artifacts.names("")}
                values = {month: self.store.load(asset, month) for month in months}
                return {
                    m for m, a in values.items() if isinstance(a, Artifact) and published.issuperset(a.uris.values())
                }
            case _:
                return months

    def _has_booster(self, month: str) -> bool:
        try:
            return self.store.load("xgboost_model", month) is not None
        except StaleInputError:
            return False  # missing or damaged: to be trained again, which is what the error asks for

    def _checked(self, asset: str) -> set[str]:
        """Months whose latest materialisation every check of the asset has seen, and every blocking one passed."""
        blocking = {check.name: check.blocking for check in all_checks() if check.asset == asset}
        if not blocking:
            return set(self.months)
        keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for name in blocking]
        seen: dict[str, set[str]] = {}
        for info in self.instance.event_log_storage.get_asset_check_partition_info(keys):
            fresh = info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
            passed = info.latest_execution_status == AssetCheckExecutionRecordStatus.SUCCEEDED
            failed = info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
            name = info.check_key.name
            if info.partition_key and fresh and (passed or (failed and not blocking[name])):
                seen.setdefault(info.partition_key, set()).add(name)
        return {month for month, names in seen.items() if names == set(blocking)}

    def _remember(self, result: dg.ExecuteInProcessResult, month: str, assets: Sequence[str]) -> None:
        for asset in assets:
            self._state[asset].pop(month, None)
        if result.success:
            for event in result.get_asset_materialization_events():
                materialisation = event.step_materialization_data.materialization
                self._state[materialisation.asset_key.to_user_string()][month] = _materialised(materialisation)

    def _inputs(self, asset: str, month: str) -> str | None:
        """The inputs digest that a materialisation now would have; None if an input is not there."""
        key = dg.AssetKey(asset)
        inputs: dict[str, dict[str, str]] = {}
        for parent in self._graph.get(key).parent_keys:
            name = parent.to_user_string()
            window = self._graph.get_partition_mapping(key, parent) == EVERY_MONTH_SO_FAR
            needed = [m for m in self.months if m <= month] if window else [month]
            if any(m not in self._state[name] for m in needed):
                return None
            inputs[name] = {m: self._state[name][m].digest for m in needed}
        return inputs_digest(self._graph.get(key).code_version or "", inputs, self._outside(asset, month))

    def _outside(self, asset: str, month: str) -> Mapping[str, str]:
        """What the asset reads from outside the graph, as it is now."""
        match asset:
            case "player_game_summary":
                return {"source": self.source.fingerprint(month)}
            case "ml_feature_store_v2":
                return {"lines": self.source.lines_fingerprint(month)}
            case "xgboost_model":
                return {"parameters": parameters_digest(Hyperparameters())}
            case _:
                return {}


@contextmanager
def _signals_noticed() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether SIGINT or SIGTERM came since, whoever handled it.

    While it runs, Dagster handles both itself: inside a step they fail the step, between two steps they wait
    for the next, and after the last they are forgotten. Python's wakeup descriptor hears of them all.
    """
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    noticed = bytearray()

    def interrupted() -> bool:
        with suppress(BlockingIOError):  # nothing came
            noticed.extend(os.read(readable, 4096))
        return signal.SIGINT in noticed or signal.SIGTERM in noticed

    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(before)
        os.close(writable)
        os.close(readable)


def _materialised(event: dg.AssetMaterialization) -> Materialised:
    return Materialised(
        digest=(event.tags or {}).get("dagster/data_version", ""), inputs=str(event.metadata[INPUTS].value)
    )


def _errors(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """The message of each failed step's own error, without Dagster's wrapping.

    Its cause is not shown: our errors say in words what the library that they come from said.
    """
    for event in result.filter_events(lambda e: e.is_step_failure):
        error = event.step_failure_data.error
        while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
            error = error.cause
        if error is not None:
            _, _, text = error.message.strip().partition(": ")
            yield f"{event.step_key}: {text or error.message.strip()}"
