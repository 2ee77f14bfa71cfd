"""Which assets of a month are out of date: what `--only-missing` and the sensor ask.

An asset is up to date if its latest materialisation was made from the same inputs by the same code, its value is in the
store, and no check on it stopped its run. Checks that have not run on it are run on it as it is: they were added later,
or the process was killed before them. What does not belong here: running anything.

Making a planner lists the store once and reads no values. A month's model and published objects are verified when
that month is first asked about: a missing or damaged one is out of date, and is made again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg

from nba_ml.checks.check import Check
from nba_ml.checks.registry import STORED, all_checks
from nba_ml.contract.assets import MONTHLY_ASSETS, ON_REQUEST
from nba_ml.contract.errors import StaleInputError
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.stored import SNAPSHOT
from nba_ml.defs.assets.recording import digests_of, latest_digests
from nba_ml.defs.check_results import CheckLog, CheckResult
from nba_ml.defs.partitions import History, history_of, months_read
from nba_ml.defs.refusals import NOT_PUBLISHED, refusal_of
from nba_ml.defs.verdict import gather_verdict
from nba_ml.model.fitting import Hyperparameters
from nba_ml.model.stored import METADATA, MODEL
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.registry.refusal import Refusal
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.month_prices import MonthPrices, NoMonthPrices
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource
from nba_ml.storage.months import MonthStore, StoredAsset
from nba_ml.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Materialised:
    """The latest materialisation of an asset's month: the digest of its value and of its inputs."""

    digest: str
    inputs: str


@dataclass
class Planner:
    """One system's chain in the graph, and the state of earlier materialisations.

    `source` is the embedded source; None where the feature store is BigQuery, whose tables are observed through
    `month_rows`. `limits` are those of the checks; `prices` those of lines.
    """

    defs: dg.Definitions
    instance: dg.DagsterInstance
    store: MonthStore
    artifacts: ObjectStore
    month_rows: MonthRowsSource
    source: EmbeddedFeatureSource | None
    months: Sequence[str]
    limits: Thresholds
    system: System = XGBOOST_V1
    prices: MonthPrices = field(default_factory=NoMonthPrices)
    _state: dict[str, dict[str, Materialised]] = field(default_factory=dict, init=False)
    _unchecked: set[tuple[str, str]] = field(default_factory=set, init=False)
    _unverified: set[tuple[str, str]] = field(default_factory=set, init=False)
    _histories: dict[str, dict[str, History | None]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._graph = self.defs.resolve_asset_graph()
        names = set(self.store.objects.names(""))
        self._log = CheckLog(self.instance)
        self._log.results([check for check in all_checks() if check.asset in self.chain], self.months)
        for asset in self.chain:
            self._state[asset] = self._completed(asset, names)
        self._unverified = {
            (asset, month) for asset in (self._name(MODEL), self._name(ARTIFACT)) for month in self._state[asset]
        }
        if self.source is None:
            self.observe()

    @property
    def chain(self) -> tuple[str, ...]:
        """The partitioned assets that are made here, in order: not those that are only observed."""
        every = map(self.system.asset, (*MONTHLY_ASSETS, *ON_REQUEST))
        return tuple(asset for asset in every if self._node(asset).is_materializable)

    @property
    def last_month(self) -> str:
        """The last month that has feature rows and results; where they are made here, the last that the source has."""
        if self.source is not None:
            return self.months[-1]
        features = self._state[self.system.asset(FEATURES)]
        return max(features.keys() & self._state[SUMMARY].keys(), default=self.months[0])

    def observe(self) -> None:
        """Read the state of the tables that are not made here."""
        states = self.month_rows.progress(list(self.months), system=self.system)
        for asset in (SUMMARY, self.system.asset(FEATURES)):
            found = ((p.month, p.played if asset == SUMMARY else p.features) for p in states)
            self._state[asset] = {month: Materialised(state.version, "") for month, state in found if state.rows}

    def out_of_date(self, month: str, assets: Sequence[str]) -> tuple[str, ...]:
        """Those of the assets that were never materialised for the month, from other inputs, or stopped by a check."""
        needed: list[str] = []
        for asset in (a for a in self.chain if a in assets):
            done = self._materialised(asset, month)
            made_anew = {parent for parent, months in self._parents(asset, month).items() if month in months}
            if done is None or made_anew & set(needed) or done.inputs != self._inputs(asset, month):
                needed.append(asset)
        return tuple(needed)

    def first_of(self, month: str, needed: Sequence[str]) -> tuple[str, ...]:
        """The assets to make before deciding about the rest: a snapshot that is made again may be unchanged.

        Then nothing downstream of it is out of date. Empty if this cannot save work.
        """
        snapshot = self._name(SNAPSHOT)
        first = tuple(asset for asset in needed if asset in (SUMMARY, self.system.asset(FEATURES), snapshot))
        worth_it = snapshot in first and len(first) < len(needed) and month in self._state[snapshot]
        return first if worth_it else ()

    def can_grade(self, month: str) -> bool:
        """Whether the month before, if there is one, has a model, with its checks, to predict this month with."""
        before = [m for m in self.months if m < month]
        if not before:
            return True
        model = self._name(MODEL), before[-1]
        return model not in self._unchecked and self._materialised(*model) is not None

    def unjudged(self, months: Sequence[str], assets: Collection[str]) -> dict[tuple[str, str], list[Check]]:
        """(asset, month) -> the checks whose result its latest materialisation lacks under the current thresholds."""
        checks = [check for check in all_checks(self.limits) if check.asset in assets]
        judged = self._log.judged(checks, months)
        found: dict[tuple[str, str], list[Check]] = {}
        for check in checks:
            for month in months:
                if (check.key, month) not in judged:
                    found.setdefault((check.asset, month), []).append(check)
        return found

    def never_ran(self, month: str, checks: Sequence[Check]) -> set[str]:
        """The keys of those checks that have no result on the month's latest materialisation, under any threshold."""
        found = self._log.results(checks, [month])
        return {check.key for check in checks if (check.key, month) not in found}

    def stored_months(self, asset: str) -> set[str]:
        """The months that have a value of the asset, from whatever inputs."""
        names = set(self.store.objects.names(f"{asset}/"))
        return {month for month in self.months if STORED[asset].file(month) in names}

    def stored_assets(self, month: str) -> set[str]:
        """The assets that have a value for the month, from whatever inputs."""
        names = set(self.store.objects.names(""))
        return {name for name, asset in STORED.items() if asset.file(month) in names}

    def refusal(self, month: str) -> Refusal | None:
        """Why the publisher would refuse the month's model as it is; None if it might accept it.

        Every check has a result on exactly these bytes and one failed, so a new attempt would be refused again.
        """
        described = self.store.load(METADATA.of(self.system), month)
        if described is None or described.record is None:
            return None
        verdict = gather_verdict(self._log, month, described.record, self.limits)
        if not verdict.failed or any(check.final for check in verdict.failed):
            return None
        return refusal_of(self._log, month, described.record.model_id, verdict, self.limits)

    def remember(self, month: str, assets: Sequence[str], made: Mapping[str, dg.AssetMaterialization]) -> None:
        """Record a run of these assets and what it made, by asset. What it did not make is out of date."""
        self.checked(month, assets)
        for asset in assets:
            self._state[asset].pop(month, None)
            self._unverified.discard((asset, month))
        for asset, event in made.items():
            if asset != self._name(ARTIFACT) or NOT_PUBLISHED not in event.metadata:
                self._state[asset][month] = Materialised(*digests_of(event))

    def checked(self, month: str, assets: Collection[str]) -> None:
        """Record that all checks of these assets have run on the month's values."""
        self._log.forget(month)
        self._unchecked.difference_update((asset, month) for asset in assets)

    def _completed(self, asset: str, names: Collection[str]) -> dict[str, Materialised]:
        """Month -> latest materialisation, where its value is among the store's names and no check stopped its run."""
        checks = [check for check in all_checks() if check.asset == asset]
        results = self._log.results(checks, self.months)
        made = {}
        for month, digests in latest_digests(self.instance, asset).items():
            found = [results.get((check.key, month)) for check in checks]
            if STORED[asset].file(month) not in names or any(map(_stopped, found, checks)):
                continue
            made[month] = Materialised(*digests)
            if None in found:
                self._unchecked.add((asset, month))
        return made

    def _materialised(self, asset: str, month: str) -> Materialised | None:
        """The month's latest complete materialisation; reads what its value refers to when first asked."""
        if (asset, month) in self._unverified:
            self._unverified.discard((asset, month))
            if not self._intact(asset, month):
                del self._state[asset][month]
        return self._state[asset].get(month)

    def _intact(self, asset: str, month: str) -> bool:
        """Whether all that the value refers to is in its place: the booster, or the published objects."""
        try:
            if asset == self._name(MODEL):
                return self.store.load(MODEL.of(self.system), month) is not None
            artifact = self.store.load(ARTIFACT.of(self.system), month)
        except StaleInputError:
            return False  # missing or damaged: made again, as the error asks
        if artifact is None or artifact.refused is not None:
            return False  # a refused model is tried again, unless its verdict still stands
        return self._published.issuperset(artifact.uris.values())

    @cached_property
    def _published(self) -> frozenset[str]:
        """Addresses of the objects under the artifact root. What this process publishes is not looked up here."""
        return frozenset(self.artifacts.uri(name) for name in self.artifacts.names(""))

    def _name(self, asset: StoredAsset[Any]) -> str:
        return asset.of(self.system).name

    def _node(self, asset: str) -> Any:
        return self._graph.get(dg.AssetKey.from_user_string(asset))

    def _inputs(self, asset: str, month: str) -> str | None:
        """The inputs digest that a new materialisation would have; None if an input is missing."""
        inputs: dict[str, dict[str, str]] = {}
        for name, needed in self._parents(asset, month).items():
            found = {m: made.digest for m in needed if (made := self._materialised(name, m)) is not None}
            if len(found) < len(needed):
                return None
            inputs[name] = found
        return inputs_digest(self._node(asset).code_version or "", inputs, self._outside(asset, month))

    def _parents(self, asset: str, month: str) -> dict[str, list[str]]:
        """What the asset's month is made from: asset -> months."""
        if asset not in self._histories:
            node = self._node(asset)
            self._histories[asset] = {
                parent.to_user_string(): history_of(node.assets_def, parent) for parent in node.parent_keys
            }
        return {name: months_read(history, month, self.months) for name, history in self._histories[asset].items()}

    def _outside(self, asset: str, month: str) -> Mapping[str, str]:
        """What the asset reads from outside the graph, as it is now."""
        match asset.removeprefix(self.system.prefix):
            case "player_game_summary" if self.source is not None:
                return {"source": self.source.fingerprint(month)}
            case "ml_feature_store_v2" if self.source is not None:
                reports = self.system.features.reads_reports
                return {
                    "lines": self.source.lines_fingerprint(month),
                    **({"reports": self.source.reports.fingerprint(month)} if reports else {}),
                }
            case "predictions" | "prediction_grades":
                return self.prices.version(month)
            case "xgboost_model":
                return {"parameters": Hyperparameters().digest}
            case _:
                return {}


def _stopped(result: CheckResult | None, check: Check) -> bool:
    """Whether the check has a result that stopped its run."""
    return result is not None and not result.passed and check.stops_run
