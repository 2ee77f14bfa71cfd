"""A predictor whose models are rules of nba_ml's code: what is around a model is tested without training one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nba_ml.registry.channel import CHAMPION, Channel, ChannelModel, Share
from nba_ml.serving import Predictor, predictor
from nba_ml.serving.external import LoadedSystem, load_other
from nba_ml.serving.http.openapi import EXAMPLE_ROW
from nba_ml.serving.prediction import ModelIdentity
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore

MONTHS = ("202505", "202506")
"""Of the models that `ours` makes."""

ROW = dict(EXAMPLE_ROW)


def ours(month: str = MONTHS[0], system: str = "xgboost_v1") -> ChannelModel:
    """A model of ours as a channel names it; nothing is published under that name."""
    digest = f"{month}{'0' * 58}"
    return ChannelModel(system_id=system, model_id=f"{system}_33features_{month}_{digest[:12]}", manifest_sha256=digest)


MOCK = ChannelModel(system_id="mock", model_id="mock", manifest_sha256=None)


def state_of(serial: int, champion: ChannelModel, challenger: ChannelModel | None = None, share: Share = 0) -> Channel:
    """A state of a channel."""
    return Channel.model_validate(
        {
            "serial": serial,
            "champion": champion,
            "challenger": challenger,
            "share": share,
            "graded_from": "2025-07-01" if challenger else None,
            "kind": "promote",
            "reason": "a test",
            "moved_at": "2025-07-01T12:00:00Z",
        }
    )


def point(store: DirectoryStore, state: Channel, name: str = CHAMPION) -> None:
    """Let a channel have this state, whatever it had."""
    found = store.read(name)
    if found is None:
        store.create(name, state.to_bytes())
    else:
        store.swap(name, state.to_bytes(), found.generation)


class Loads:
    """Loads a rule in place of each of our models, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.failing: Exception | None = None

    def model(self, _: Callable[[str], bytes | None], name: str, **how: Any) -> LoadedSystem:
        model_id = name.rpartition("/")[2].removesuffix("_manifest.json")
        return self._loaded(name, how, model_id, "xgboost", "moving_average" if MONTHS[0] in model_id else "mock")

    def other(self, store: ObjectStore, model: ChannelModel, **how: Any) -> LoadedSystem:
        if model.manifest_sha256 is None:
            return load_other(store, model, **how)
        return self._loaded(model.model_id, how, model.model_id, "catboost", "mock")

    def _loaded(self, name: str, how: dict[str, Any], model_id: str, kind: str, rule: str) -> LoadedSystem:
        self.asked.append((name, how))
        if self.failing is not None:
            raise self.failing
        found = load_other(DirectoryStore(Path("/")), ChannelModel(system_id=rule, model_id=rule, manifest_sha256=None))
        who = ModelIdentity("xgboost_v1", model_id, kind, how.get("manifest_sha256") or "a" * 64, "v2_33features")
        return replace(found, identity=who, newest_month="2025-05")


def install(monkeypatch: Any) -> Loads:
    """Let predictors load by `Loads` while the patch lasts."""
    loads = Loads()
    monkeypatch.setattr(predictor, "load_model", loads.model)
    monkeypatch.setattr(predictor, "load_other", loads.other)
    return loads


def rule_predictor(monkeypatch: Any, store: DirectoryStore, **named: Any) -> Predictor:
    """A predictor of the champion, which is one of our models by name and a rule in fact."""
    install(monkeypatch)
    return Predictor.load(store, **(named or {"channel": "champion"}))
