"""Which assets of a month are out of date: what `--only-missing` and the sensor ask.

An asset is up to date if its latest materialisation was made from the same inputs by the same code, its
value is whole in the store, and its checks ran on it. What does not belong here: running anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from nba_ml.checks.registry import STORED, all_checks
from nba_ml.contract.assets import MONTHLY_ASSETS, ON_REQUEST
from nba_ml.contract.errors import NotVerifiedError, StaleInputError
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.stored import SNAPSHOT
from nba_ml.defs.assets.recording import INPUTS
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.internals import AssetCheckExecutionRecordStatus
from nba_ml.defs.partitions import months_needed
from nba_ml.defs.verdict import gather_verdict, latest_evaluations
from nba_ml.model.stored import METADATA, MODEL
from nba_ml.model.training import Hyperparameters
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource
from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Materialised:
    """The latest materialisation of an asset's month: the digest of its value and of its inputs."""

    digest: str
    inputs: str


@dataclass
class Planner:
    """The graph, and what is known of earlier materialisations.

    `source` is the embedded source; None where the feature store is BigQuery, whose tables are observed through
    `month_rows`. `limits` are those of the checks.
    """

    defs: dg.Definitions
    instance: dg.DagsterInstance
    store: MonthStore
    artifacts: ObjectStore
    month_rows: MonthRowsSource
    source: EmbeddedFeatureSource | None
    months: Sequence[str]
    limits: Thresholds
    _state: dict[str, dict[str, Materialised]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._graph = self.defs.resolve_asset_graph()
        for asset in self.chain:
            self._state[asset] = self._completed(asset)
        if self.source is None:
            self.observe()

    @property
    def chain(self) -> tuple[str, ...]:
        """The partitioned assets that are made here, in order: not those that are only observed."""
        every = (*MONTHLY_ASSETS, *ON_REQUEST)
        return tuple(asset for asset in every if self._graph.get(dg.AssetKey(asset)).is_materializable)

    @property
    def last_month(self) -> str:
        """The last month that has feature rows and results; where they are made here, the last that the source has."""
        if self.source is not None:
            return self.months[-1]
        return max(self._state[FEATURES].keys() & self._state[SUMMARY].keys(), default=self.months[0])

    def observe(self) -> None:
        """Look at the tables that are not made here."""
        states = self.month_rows.progress(list(self.months))
        for asset in (SUMMARY, FEATURES):
            found = ((p.month, p.played if asset == SUMMARY else p.features) for p in states)
            self._state[asset] = {month: Materialised(state.version, "") for month, state in found if state.rows}

    def out_of_date(self, month: str, assets: Sequence[str]) -> tuple[str, ...]:
        """Those of the assets that were never materialised for the month, from other inputs, or never checked."""
        needed: list[str] = []
        for asset in (a for a in self.chain if a in assets):
            done = self._state[asset].get(month)
            made_anew = {parent for parent, months in self._parents(asset, month).items() if month in months}
            if done is None or made_anew & set(needed) or done.inputs != self._inputs(asset, month):
                needed.append(asset)
        return tuple(needed)

    def first_of(self, month: str, needed: Sequence[str]) -> tuple[str, ...]:
        """Those to make first, and then to look again: a snapshot that was there before may come out the same.

        Nothing that stands on it is out of date then. Empty if that cannot save anything.
        """
        first = tuple(asset for asset in needed if asset in (SUMMARY, FEATURES, SNAPSHOT.name))
        worth_it = SNAPSHOT.name in first and len(first) < len(needed) and month in self._state[SNAPSHOT.name]
        return first if worth_it else ()

    def can_grade(self, month: str) -> bool:
        """Whether the month before, if there is one, has a model to predict this month with."""
        before = [m for m in self.months if m < month]
        return not before or before[-1] in self._state["xgboost_model"]

    def unjudged(self, month: str, assets: Sequence[str]) -> tuple[str, ...]:
        """Those of the assets that a check has not spoken on under the limits of now: they changed since."""
        return tuple(
            asset
            for asset in assets
            if (checks := [check for check in all_checks(self.limits) if check.asset == asset])
            and len(latest_evaluations(self.instance, checks, [month])) < len(checks)
        )

    def stored(self, asset: str, month: str) -> bool:
        """Whether there is a value of the asset for the month, from whatever inputs."""
        return self.store.uri(STORED[asset], month) in {
            self.store.objects.uri(n) for n in self.store.objects.names(f"{asset}/")
        }

    def refusal(self, month: str) -> str | None:
        """Why the publisher would refuse the month's model as it is, in words; None if it might take it.

        Every check has spoken on these very bytes and one has failed: asking again would change nothing.
        """
        described = self.store.load(METADATA, month)
        if described is None or described.record is None:
            return None
        verdict = gather_verdict(self.instance, month, described.record, self.limits)
        if any(check.final for check in verdict.failed):
            return None
        try:
            verdict.require(described.record.model_sha256)
        except NotVerifiedError as error:
            return str(error)
        return None

    def remember(self, month: str, assets: Sequence[str], made: Mapping[str, dg.AssetMaterialization]) -> None:
        """Take note of a run of these assets: what it made, by asset. What it did not make is out of date."""
        for asset in assets:
            self._state[asset].pop(month, None)
        for asset, event in made.items():
            self._state[asset][month] = _materialised(event)

    def _completed(self, asset: str) -> dict[str, Materialised]:
        """Month -> latest materialisation, where its value is whole in the store and its checks ran on it.

        A process killed between a materialisation and its checks left something that no publisher
        would accept: it is not complete, and is run again.
        """
        complete = self._stored(asset) & self._checked(asset)
        latest = latest_materialisations(self.instance, asset)
        return {
            month: _materialised(record.asset_materialization)
            for month, record in latest.items()
            if month in complete and record.asset_materialization is not None
        }

    def _stored(self, asset: str) -> set[str]:
        """Months whose value is there, with all that it refers to: its booster, its published objects."""
        there = {self.store.objects.uri(name) for name in self.store.objects.names(f"{asset}/")}
        months = {month for month in self.months if self.store.uri(STORED[asset], month) in there}
        match asset:
            case "xgboost_model":
                return {month for month in months if self._has_booster(month)}
            case "gcs_artifact":
                published = {self.artifacts.uri(name) for name in self.artifacts.names("")}
                values = {month: self.store.load(ARTIFACT, month) for month in months}
                return {m for m, a in values.items() if a is not None and published.issuperset(a.uris.values())}
            case _:
                return months

    def _has_booster(self, month: str) -> bool:
        try:
            return self.store.load(MODEL, month) is not None
        except StaleInputError:
            return False  # missing or damaged: to be trained again, which is what the error asks for

    def _checked(self, asset: str) -> set[str]:
        """Months whose latest materialisation every check of the asset has seen, and none that stops a run failed."""
        stopping = {check.name: check.stops_run for check in all_checks() if check.asset == asset}
        if not stopping:
            return set(self.months)
        keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for name in stopping]
        seen: dict[str, set[str]] = {}
        for info in self.instance.event_log_storage.get_asset_check_partition_info(keys):
            fresh = info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
            passed = info.latest_execution_status == AssetCheckExecutionRecordStatus.SUCCEEDED
            failed = info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
            name = info.check_key.name
            if info.partition_key and fresh and (passed or (failed and not stopping[name])):
                seen.setdefault(info.partition_key, set()).add(name)
        return {month for month, names in seen.items() if names == set(stopping)}

    def _inputs(self, asset: str, month: str) -> str | None:
        """The inputs digest that a materialisation now would have; None if an input is not there."""
        inputs: dict[str, dict[str, str]] = {}
        for name, needed in self._parents(asset, month).items():
            if any(m not in self._state[name] for m in needed):
                return None
            inputs[name] = {m: self._state[name][m].digest for m in needed}
        return inputs_digest(
            self._graph.get(dg.AssetKey(asset)).code_version or "", inputs, self._outside(asset, month)
        )

    def _parents(self, asset: str, month: str) -> dict[str, list[str]]:
        """What the asset's month is made from: asset -> months."""
        key = dg.AssetKey(asset)
        return {
            parent.to_user_string(): months_needed(self._graph.get_partition_mapping(key, parent), month, self.months)
            for parent in self._graph.get(key).parent_keys
        }

    def _outside(self, asset: str, month: str) -> Mapping[str, str]:
        """What the asset reads from outside the graph, as it is now."""
        match asset:
            case "player_game_summary" if self.source is not None:
                return {"source": self.source.fingerprint(month)}
            case "ml_feature_store_v2" if self.source is not None:
                return {"lines": self.source.lines_fingerprint(month)}
            case "xgboost_model":
                return {"parameters": Hyperparameters().digest}
            case _:
                return {}


def _materialised(event: dg.AssetMaterialization) -> Materialised:
    return Materialised(
        digest=(event.tags or {}).get("dagster/data_version", ""), inputs=str(event.metadata[INPUTS].value)
    )
