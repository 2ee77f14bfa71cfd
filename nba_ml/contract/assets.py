"""Asset names in graph order, and the tags of the graph's runs."""

from __future__ import annotations

FEATURE_ASSETS = ("player_game_summary", "ml_feature_store_v2", "feature_store_snapshot")
"""Assets that prepare a month's feature rows."""

TRAINING_ASSETS = ("train_split", "xgboost_model", "model_metadata", "gcs_artifact")
"""Assets that train and publish a month's model."""

EVALUATION_ASSETS = ("predictions", "prediction_grades")
"""Assets that evaluate the previous month's model on this month."""

MONTHLY_ASSETS = FEATURE_ASSETS + TRAINING_ASSETS + EVALUATION_ASSETS
"""Assets that a backfill materialises for every month, in order."""

ON_REQUEST = ("challengers",)
"""Assets that are materialised only on request, because other learners take longer to train than the model."""

CHAIN = FEATURE_ASSETS + TRAINING_ASSETS
"""From the rows to the published model, in order."""

PID_TAG = "nba_ml/pid"
"""Run tag set by the command line: the id of the process that started the run."""

HOME_TAG = "nba_ml/home"
"""On the same runs: the machine and the folder, which tell apart the homes that share a Dagster instance."""

COMMAND_TAG = "nba_ml/command"
"""On the same runs: the command, with its options."""
