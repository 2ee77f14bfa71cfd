"""Prediction systems with one interface, so that they can be scored and graded on the same rows.

- `interface`: what a system is, and which games it was trained on.
- `rules`: systems that are a formula: the moving average and the mock.
- `xgboost_v1`: a bundle published by nba_ml.
- `registered`: a model file of CatBoost, XGBoost or LightGBM with the contract's features.
- `external`: finds the rule or the registered model that a channel names.
- `loading`: loads any system that a channel names.
- `published`: the published columns for a system's output, with or without an interval.
"""
