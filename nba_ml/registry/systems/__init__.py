"""Prediction systems beside each other: the same rows, the same format, the same grades.

- `interface`: what a system is, and what it has seen.
- `rules`: systems that are a formula: the moving average and the mock.
- `catboost_v8`: a registered CatBoost model of the same features.
- `others`: those two, as a channel names them: what a prediction worker needs beside our own bundles.
- `xgboost_v1`: a published bundle of ours.
- `published`: what a system publishes, with or without an interval.
- `shadow`: several systems over one month, predicted and graded.
- `loading`: the system that a channel names.
"""
