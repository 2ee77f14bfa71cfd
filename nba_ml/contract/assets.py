"""The names of the assets, in the order of the graph, and what else the graph's runs are known by."""

from __future__ import annotations

FEATURE_ASSETS = ("player_game_summary", "ml_feature_store_v2", "feature_store_snapshot")
"""What a month's rows go through."""

TRAINING_ASSETS = ("train_split", "xgboost_model", "model_metadata", "gcs_artifact")
"""What a month's model goes through."""

EVALUATION_ASSETS = ("predictions", "prediction_grades")
"""What a month says about the model of the month before."""

MONTHLY_ASSETS = FEATURE_ASSETS + TRAINING_ASSETS + EVALUATION_ASSETS
"""What a backfill makes of every month, in order."""

ON_REQUEST = ("challengers",)
"""What a month has only if somebody asks: other learners take longer than the model does."""

CHAIN = FEATURE_ASSETS + TRAINING_ASSETS
"""The whole chain, in order."""

PID_TAG = "nba_ml/pid"
"""Tag of runs made by the command line: the process that made them."""
