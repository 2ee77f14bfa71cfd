"""A home opened for work: locked against a second writer, its instance open, its graph loaded.

Imports Dagster only when used, so that a busy home is reported quickly.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nba_ml.machine import return_memory
from nba_ml.runner.home import exclusive, fail_orphaned_runs, open_instance, prepare_home
from nba_ml.runner.signals import signals_noticed
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.runner.backfill import Backfill


@contextmanager
def open_session(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Iterator[Backfill]:
    """A backfill on a home, open while the block lasts. `tell` receives a line about what was cleaned up.

    Raises:
        SettingsError: the home cannot be created or written to.
        HomeBusyError: another process is using it.
        KeyboardInterrupt: SIGINT or SIGTERM came while it was opened.
    """
    return_memory()
    prepare_home(settings)
    with ExitStack() as stack, signals_noticed() as interrupted:
        try:
            backfill = _open(settings, stack, tell)
        finally:
            if interrupted():
                # A library that was being imported may have caught the exception that Ctrl-C raises.
                raise KeyboardInterrupt
        yield backfill


def _open(settings: Settings, stack: ExitStack, tell: Callable[[str], None]) -> Backfill:
    # Both: another home may share this Dagster instance.
    for folder in dict.fromkeys((settings.home, settings.dagster_home)):
        stack.enter_context(exclusive(folder))
    from nba_ml.defs.build import build_defs
    from nba_ml.defs.partitions import month_keys, partitions_of
    from nba_ml.defs.resources import line_prices_of, month_rows_of, open_store
    from nba_ml.registry.signed_store import open_published
    from nba_ml.runner.backfill import Backfill
    from nba_ml.runner.planner import Planner
    from nba_ml.sources.embedded import EmbeddedFeatureSource

    defs = build_defs(settings)
    instance = stack.enter_context(open_instance(settings))
    # What is loaded stays: the collector, asked after each month, need not walk through Dagster's modules every time.
    gc.freeze()
    stack.callback(gc.unfreeze)
    if orphans := fail_orphaned_runs(instance):
        tell(f"{orphans} unfinished run(s) of a killed process marked as failed.")
    source = EmbeddedFeatureSource(str(settings.data), settings.report_cut_off)
    return Backfill(
        Planner(
            defs=defs,
            instance=instance,
            store=open_store(settings.store),
            artifacts=open_published(settings.artifact_root, settings.signing),
            month_rows=month_rows_of(settings),
            source=None if settings.bigquery else source,
            months=month_keys(partitions_of(settings)),
            limits=settings.thresholds,
            system=settings.systems[0],
            prices=line_prices_of(settings, source),
        ),
        systems=settings.systems,
    )
