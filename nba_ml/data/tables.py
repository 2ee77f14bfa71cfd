"""Arrow schemas of the tables that assets exchange, with the platform's names. Feature names come from the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.quantiles import QUANTILE_COLUMNS

PLAYER_GAME_SUMMARY = pa.schema(
    [
        pa.field("player_lookup", pa.string(), nullable=False),
        pa.field("universal_player_id", pa.string(), nullable=False),
        pa.field("player_name", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("game_id", pa.string(), nullable=False),
        pa.field("nba_game_id", pa.string(), nullable=False),
        pa.field("season", pa.string(), nullable=False),
        pa.field("playoffs", pa.bool_(), nullable=False),
        pa.field("team_abbr", pa.string(), nullable=False),
        pa.field("opponent_team_abbr", pa.string(), nullable=False),
        pa.field("is_home", pa.bool_(), nullable=False),
        pa.field("neutral_site", pa.bool_(), nullable=False),
        pa.field("team_won", pa.bool_(), nullable=False),
        pa.field("minutes_played", pa.int16(), nullable=False),
        pa.field("points", pa.int16(), nullable=False),
        pa.field("fg_makes", pa.int16(), nullable=False),
        pa.field("fg_attempts", pa.int16(), nullable=False),
        pa.field("three_pt_makes", pa.int16(), nullable=False),
        pa.field("three_pt_attempts", pa.int16(), nullable=False),
        pa.field("ft_makes", pa.int16(), nullable=False),
        pa.field("ft_attempts", pa.int16(), nullable=False),
        pa.field("offensive_rebounds", pa.int16(), nullable=False),
        pa.field("defensive_rebounds", pa.int16(), nullable=False),
        pa.field("assists", pa.int16(), nullable=False),
        pa.field("steals", pa.int16(), nullable=False),
        pa.field("blocks", pa.int16(), nullable=False),
        pa.field("turnovers", pa.int16(), nullable=False),
        pa.field("personal_fouls", pa.int16(), nullable=False),
        pa.field("plus_minus", pa.int16(), nullable=False),
    ]
)
"""One row per player who appeared in a game; key (player_lookup, game_date); order (game_date, player_lookup)."""

PROP_LINES = pa.schema(
    [
        pa.field("universal_player_id", pa.string()),
        pa.field("player_lookup", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("book", pa.string(), nullable=False),
        pa.field("line", pa.float64(), nullable=False),
    ]
)
"""Points lines as listed: a book may list a player several times on a date. `player_lookup` is made from
the name as the book spells it; `universal_player_id` is null if the source has no id."""

ML_FEATURE_STORE_V2 = pa.schema(
    [
        pa.field("player_lookup", pa.string(), nullable=False),
        pa.field("universal_player_id", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("game_id", pa.string(), nullable=False),
        pa.field("features", pa.list_(pa.float64()), nullable=False),
        pa.field("feature_names", pa.list_(pa.string()), nullable=False),
        pa.field("feature_count", pa.int64(), nullable=False),
        pa.field("feature_version", pa.string(), nullable=False),
        pa.field("feature_quality_score", pa.decimal128(5, 2), nullable=False),
        pa.field("opponent_team_abbr", pa.string(), nullable=False),
        pa.field("is_home", pa.bool_(), nullable=False),
        pa.field("days_rest", pa.int64()),
        pa.field("data_source", pa.string(), nullable=False),
        pa.field("early_season_flag", pa.bool_(), nullable=False),
        pa.field("is_production_ready", pa.bool_(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("updated_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""The feature store as in BigQuery: one row per player-game, key (player_lookup, game_date).
A missing value inside `features` is NaN: BigQuery cannot store NULL in an ARRAY."""


FEATURE_ROWS = pa.schema(
    [
        pa.field("player_lookup", pa.string()),
        pa.field("game_date", pa.date32()),
        pa.field("game_id", pa.string()),
        pa.field("features", pa.list_(pa.float64())),
        pa.field("names_in_order", pa.bool_()),
        pa.field("feature_count", pa.int64()),
        pa.field("feature_version", pa.string()),
        pa.field("feature_quality_score", pa.float64()),
        pa.field("early_season_flag", pa.bool_()),
        pa.field("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""The columns of the feature store that a snapshot needs. `names_in_order`: whether the row has the contract's feature
names in order; the 33 names themselves, which are most of a row's bytes, are not read. In old rows, anything but the
date may be missing."""

RESULTS = pa.schema(
    [
        pa.field("player_lookup", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("points", pa.float64(), nullable=False),
        pa.field("minutes_played", pa.float64(), nullable=False),
    ]
)
"""The columns of `player_game_summary` that a snapshot needs: players with minutes above 0, and their points."""


def snapshot_schema(version: FeatureVersion) -> pa.Schema:
    """Columns of a frozen month: keys, one float column per feature, target, minutes, quality."""
    return pa.schema(
        [
            pa.field("player_lookup", pa.string(), nullable=False),
            pa.field("game_date", pa.date32(), nullable=False),
            pa.field("game_id", pa.string(), nullable=False),
            *(pa.field(name, pa.float64(), nullable=False) for name in version.names),
            pa.field("points", pa.float64(), nullable=False),
            pa.field("minutes_played", pa.float64(), nullable=False),
            pa.field("feature_quality_score", pa.float64(), nullable=False),
        ]
    )


PREDICTIONS = pa.schema(
    [
        pa.field("system_id", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("model_type", pa.string(), nullable=False),
        pa.field("model_sha256", pa.string(), nullable=False),
        pa.field("feature_version", pa.string(), nullable=False),
        pa.field("player_lookup", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("game_id", pa.string(), nullable=False),
        pa.field("predicted_points", pa.float64(), nullable=False),
        pa.field("model_points", pa.float64(), nullable=False),
        pa.field("points_low", pa.float64(), nullable=False),
        pa.field("points_high", pa.float64(), nullable=False),
        pa.field("points_low_90", pa.float64(), nullable=False),
        pa.field("points_high_90", pa.float64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in QUANTILE_COLUMNS),
        pa.field("over_probability", pa.float64(), nullable=False),
        pa.field("push_probability", pa.float64(), nullable=False),
        pa.field("confidence_score", pa.float64(), nullable=False),
        pa.field("current_points_line", pa.float64(), nullable=False),
        pa.field("line_margin", pa.float64(), nullable=False),
        pa.field("recommendation", pa.string(), nullable=False),
    ]
)
"""The format of a prediction worker: key (player_lookup, game_date), order (game_date, player_lookup). Points have
two decimals and lie within 0 and 60; with a line, `predicted_points` lies between it and `model_points`, the model's
own number; without one the two are equal. `points_low` and `points_high` hold 80% of the results, those with 90 in
their name 90%. `over_probability` and `push_probability` are 0 to 1, `confidence_score` 0 to 100. Without a line
`current_points_line`, `line_margin` (prediction minus line) and the two probabilities are NaN."""


def with_later_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Stored predictions or grades with the columns that older versions did not write.

    `model_points` was the prediction itself; the others are NaN.
    """
    for at, field in enumerate(schema):
        if field.name not in table.column_names:
            known = field.name == "model_points"
            unknown = pa.repeat(float("nan"), table.num_rows)
            table = table.add_column(at, field, table.column("predicted_points") if known else unknown)
    return table


PRICES = ("over_price", "under_price")
"""What a bet of 1 on a side of the line returns (decimal odds); null if it is unknown."""

PREDICTION_GRADES = pa.schema(
    [
        *PREDICTIONS,
        pa.field("points", pa.float64(), nullable=False),
        pa.field("signed_error", pa.float64(), nullable=False),
        pa.field("absolute_error", pa.float64(), nullable=False),
        pa.field("within_3", pa.bool_(), nullable=False),
        pa.field("within_5", pa.bool_(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("season_average", pa.float64(), nullable=False),
        pa.field("last_10_average", pa.float64(), nullable=False),
        pa.field("last_5_average", pa.float64(), nullable=False),
        pa.field("mock", pa.float64(), nullable=False),
        pa.field("is_home", pa.bool_(), nullable=False),
        pa.field("back_to_back", pa.bool_(), nullable=False),
        pa.field("rest_advantage", pa.float64(), nullable=False),
        pa.field("month_of_season", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in PRICES),
        pa.field("crps", pa.float64(), nullable=False),
        pa.field("pit_low", pa.float64(), nullable=False),
        pa.field("pit_high", pa.float64(), nullable=False),
    ]
)
"""A prediction with its result and the baselines' predictions. `signed_error` is prediction minus result;
`outcome` is RIGHT, WRONG, PUSH, PASS or NO_LINE; a baseline is NaN where it cannot predict;
`month_of_season` counts from October, 1; a price that is unknown is NaN. `crps` scores the quantiles, in points;
`pit_low` and `pit_high` are the probabilities that they gave to fewer points than were scored, and to at most as many;
NaN without quantiles."""


_GAME_FACTS = (
    pa.field("tip_off", pa.timestamp("us", tz="UTC")),
    *(pa.field(name, pa.float64()) for name in PRICES),
)

GAME_FACTS = tuple(field.name for field in _GAME_FACTS)
"""Columns of slates beyond the prediction. Each may be null, and slates of older versions have none of them."""

PRICED_LINES = pa.schema([*PROP_LINES, *(pa.field(name, pa.float64()) for name in PRICES)])
"""`PROP_LINES` with their prices."""

SEPARATE_PRICES = "separate_prices"
"""Of a line's prices: whether that of over and that of under are of different books. Null is false."""

SLATE_ROWS = pa.schema(
    [*FEATURE_ROWS, pa.field("universal_player_id", pa.string()), *_GAME_FACTS, pa.field(SEPARATE_PRICES, pa.bool_())]
)
"""A date's rows of the feature store, before their games are played."""

SLATE_PREDICTIONS = pa.schema(
    [
        *PREDICTIONS,
        pa.field("universal_player_id", pa.string()),
        pa.field("side", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("channel_serial", pa.int64(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
        *_GAME_FACTS,
    ]
)
"""A stored slate: `side` is champion or challenger, `role` served or shadow, `channel_serial` the channel's
state that decided it. Key (player_lookup, game_date, side), order (player_lookup, role): served comes first. A system
without an interval has NaN in all that comes from it: intervals, quantiles, probabilities and `confidence_score`."""

SLATE_GRADES = pa.schema(
    [
        *PREDICTION_GRADES,
        *(SLATE_PREDICTIONS.field(name) for name in ("side", "role", "channel_serial", "created_at")),
        pa.field("made", pa.string(), nullable=False),
    ]
)
"""A slate's prediction with its result. `made` is as `slates.slate.made` says."""

REPLAYED: Final = "replayed"
"""In `made`: predicted after the tip-off. Never counts as a prediction."""

PLATFORM_PREDICTIONS = pa.schema(
    [
        pa.field("system_id", pa.string()),
        pa.field("player_lookup", pa.string()),
        pa.field("game_date", pa.date32()),
        pa.field("game_id", pa.string()),
        pa.field("predicted_points", pa.float64()),
        pa.field("current_points_line", pa.float64()),
        pa.field("line_source", pa.string()),
        pa.field("recommendation", pa.string()),
        pa.field("invalidated", pa.bool_()),
        pa.field("made_before_game", pa.bool_()),
        pa.field("prediction_version", pa.int64()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Active rows of the platform's table of predictions, as they are: anything but the system and the date may be null,
and a game may have several rows."""

DESCRIPTIONS: Mapping[str, str] = {
    "player_lookup": "Key: the player's name in lower-case letters.",
    "universal_player_id": "The player, whatever the spelling of the name.",
    "game_date": "Key: the date of the game, Eastern time.",
    "game_id": "The platform's id of the game: date and teams.",
    "points": "Target: points that the player scored.",
    "minutes_played": "Minutes on the floor: a result, as the points are.",
    "features": "The features in the contract's order; NaN for a missing one.",
    "feature_names": "The contract's names, in order.",
    "feature_version": "The contract of the features.",
    "feature_quality_score": "0 to 100: how many of the features are there.",
    "early_season_flag": "In the first days of a season: not trained on.",
    "predicted_points": "The median: as likely to be exceeded as not. 0 to 60.",
    "points_low": "80% of results lie between points_low and points_high.",
    "points_high": "The upper end of that interval.",
    "points_low_90": "90% of results lie between points_low_90 and points_high_90.",
    "points_high_90": "The upper end of that interval.",
    **{name: f"The points that {name[-2:].lstrip('0')}% of results lie below." for name in QUANTILE_COLUMNS},
    "over_probability": "Probability of more points than the line, 0 to 1; missing without a line.",
    "push_probability": "Probability of exactly as many points as the line; missing without a line.",
    "confidence_score": "Probability, in percent, of the predicted side of the line.",
    "current_points_line": "The betting line; missing without one.",
    "line_margin": "predicted_points minus the line; missing without one.",
    "recommendation": "OVER, UNDER, PASS or NO_LINE.",
    "model_sha256": "Digest of the model that predicted.",
}
"""What columns mean that several tables have."""
