"""`model_metadata`: the record that goes with the booster."""

from textwrap import wrap
from typing import Any

import dagster as dg

from nba_ml.contract.systems import System
from nba_ml.defs.assets.recording import OWNERS, recorded
from nba_ml.defs.partitions import reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.evaluation.report.addresses import card_address, picture_address
from nba_ml.evaluation.report.card import Card
from nba_ml.model.record import make_record
from nba_ml.model.values import DescribedModel, TrainedModel

CODE_VERSION = "3"

_COLUMN = 50
"""Characters: what Dagster's column of values shows in a window of 1,400 pixels; it does not wrap at its edge."""


def build(months: dg.PartitionsDefinition, system: System) -> dg.AssetsDefinition:
    models = system.asset("xgboost_model")

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("model_metadata")),
        partitions_def=months,
        group_name=system.group("training"),
        kinds={"json"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={"xgboost_model": reads(models)},
    )
    @fails_with_its_reason
    def model_metadata(context: dg.AssetExecutionContext, xgboost_model: TrainedModel) -> dg.Output[Any]:
        """The typed record published beside the booster: identity, lineage, metrics, reference rows.

        Metrics with intervals, baselines on the same rows, importance, library versions, and 20 rows
        whose predictions any loader must reproduce.
        """
        booster = xgboost_model.booster
        record = make_record(xgboost_model.report, booster, system) if booster is not None else None
        facts = (
            {
                "model_id": record.model_id,
                "rows": record.rows,
                "players": record.players,
                "validation_mae": record.metrics.validation.mae,
                "card": dg.MetadataValue.md(short_card(Card(record, None), system, context.partition_key)),
                "record": dg.MetadataValue.json(record.model_dump(mode="json", exclude={"reference_rows", "split"})),
            }
            if record
            else {"note": "no model, so no record"}
        )
        return recorded(
            DescribedModel(record, booster),
            code_version=CODE_VERSION,
            inputs={models: {context.partition_key: xgboost_model.digest}},
            metadata=facts,
        )

    return model_metadata


def short_card(card: Card, system: System, month: str) -> str:
    """The card as Markdown that is short enough to be shown without a click, with the way to all of it."""
    summary = "  \n".join(wrap(card.summary, _COLUMN))
    return (
        f"{summary}\n\n**Not for betting**: it was not compared with prices.\n\n"
        f"**[The model card]({card_address(month, system)})**: data, errors by kind of player,  \n"
        f"checks, and how to load it.\n\n![What moves a prediction]({picture_address(month, 'importance', system)})"
    )
