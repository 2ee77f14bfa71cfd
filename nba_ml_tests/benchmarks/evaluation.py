"""What judging costs, from models that are there: `python -m nba_ml_tests.benchmarks.evaluation HOME`.

HOME is that of a finished `nba-ml backfill`. The checks of the last month, one by one, and the walk-forward of all
months: predictions, grades, and the report. Nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

from nba_ml.checks.registry import STORED, all_checks
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import season_months
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.snapshot import Snapshot
from nba_ml.defs.assets.walk_forward import graded_months
from nba_ml.defs.checks import scene_of
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.evaluation.grades import grade_month
from nba_ml.evaluation.pictures import walk_forward_curve
from nba_ml.evaluation.predictions import make_predictions
from nba_ml.evaluation.report.page import walk_forward_page
from nba_ml.evaluation.walk_forward import graded_games, summarise
from nba_ml.model.values import TrainedModel
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import source_months
from nba_ml.storage.months import MonthStore

BLOCKING_SECONDS, WALK_SECONDS = 5.0, 60.0


def check_seconds(store: Store, artifacts: ArtifactRoot, months: list[str]) -> dict[str, float]:
    """Seconds of the checks of the last month by what a failure does; values are loaded beforehand."""
    limits = Thresholds()
    scene = scene_of("predictions", months[-1], limits, store, artifacts, months)
    spent: defaultdict[str, float] = defaultdict(float)
    for check in all_checks(limits):
        value = store.months().load(STORED[check.asset], scene.month)
        if value is None:
            continue
        started = time.perf_counter()
        check.examine(value, scene)
        spent[f"{check.consequence}{': fresh process' if 'fresh' in check.name else ''}"] += (
            time.perf_counter() - started
        )
    return dict(spent)


def walk_seconds(store: MonthStore, months: list[str]) -> dict[str, float]:
    """Seconds of each step over all months, from trained models and snapshots in the store."""
    spent: defaultdict[str, float] = defaultdict(float)
    for before, month in zip([None, *months], months, strict=False):
        started = time.perf_counter()
        snapshot, model = (
            store.load(STORED["feature_store_snapshot"], month),
            before and store.load(STORED["xgboost_model"], before),
        )
        assert isinstance(snapshot, Snapshot)
        read = time.perf_counter()
        made = make_predictions(
            snapshot, model if isinstance(model, TrainedModel) else None, month, XGBOOST_V1, threads=1
        )
        predicted = time.perf_counter()
        grade_month(made, snapshot, month, V2_33FEATURES)
        spent["reading models and snapshots"] += read - started
        spent["predictions"] += predicted - read
        spent["grades"] += time.perf_counter() - predicted
    started = time.perf_counter()
    graded = graded_months(store, months)
    walk = summarise(graded, months)
    curve = {month: each.overall for month, each in walk.measured.items()}
    wide, narrow = walk_forward_curve(curve), walk_forward_curve(curve, narrow=True)
    walk_forward_page(walk, graded_games(graded), wide_picture=wide, narrow_picture=narrow)
    spent["report"] = time.perf_counter() - started
    return dict(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    home = parser.parse_args().home.resolve()
    found = source_months(SAMPLE_DATA)
    months = season_months(found[0], found[-1])
    store, artifacts = Store(root=str(home / "store")), ArtifactRoot(root=str(home / "artifacts"))
    checks, walk = check_seconds(store, artifacts, months), walk_seconds(store.months(), months)
    blocking = sum(seconds for what, seconds in checks.items() if "warns" not in what and "CI" not in what)
    print("| what | seconds | target |\n|---|---|---|")
    for what, seconds in checks.items():
        print(f"| checks of {months[-1]}: {what} | {seconds:.2f} | |")
    print(f"| all blocking checks of {months[-1]} | {blocking:.2f} | at most {BLOCKING_SECONDS:.0f} |")
    for what, seconds in walk.items():
        print(f"| {len(months) - 1} months: {what} | {seconds:.1f} | |")
    print(f"| walk-forward of {len(months) - 1} months | {sum(walk.values()):.1f} | at most {WALK_SECONDS:.0f} |")


if __name__ == "__main__":
    main()
