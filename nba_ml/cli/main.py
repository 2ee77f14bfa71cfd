"""nba-ml: the graph from the terminal.

What belongs here: the command line as a whole. Each command is in its own module and imports Dagster only when it runs,
so that `--help` is quick.
"""

from __future__ import annotations

import gc

import click

from nba_ml.cli.backfill import backfill, run
from nba_ml.cli.champion import champion
from nba_ml.cli.check import check
from nba_ml.cli.features import features
from nba_ml.cli.fetch import fetch
from nba_ml.cli.grades import grades
from nba_ml.cli.health import health
from nba_ml.cli.import_ import import_
from nba_ml.cli.keys import keys
from nba_ml.cli.models import models
from nba_ml.cli.progress import progress
from nba_ml.cli.rollout import rollout
from nba_ml.cli.serve import serve
from nba_ml.cli.slate import slate
from nba_ml.cli.ui import ui
from nba_ml.cli.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(package_name="nba_ml")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Train, check and publish the NBA points model, month by month.

    Everything that runs here is a run in the Dagster instance under NBA_ML_HOME (default ./.nba_ml): `nba-ml ui`
    shows it. With no settings the real data that the package ships is used, 2021-10 to 2025-06.

    \b
    Start with:    nba-ml run
    Every month:   nba-ml backfill --from 2021-10 --to 2025-06 --only-missing
    """
    context.obj = debug
    # By default every 700 new objects start a collection, which is 5% of a short command: its imports' objects stay.
    gc.set_threshold(50_000, 20, 20)


for each in (
    run,
    backfill,
    check,
    verify,
    progress,
    ui,
    models,
    champion,
    rollout,
    keys,
    health,
    serve,
    slate,
    grades,
    import_,
    fetch,
    features,
):
    main.add_command(each)
