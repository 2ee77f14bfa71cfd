"""Prediction systems beside each other: the same rows, the same format, the same grades.

- `interface`: what a system is, and what it has seen.
- `rules`: systems that are a formula: the moving average and the mock.
- `xgboost_v1`: a published bundle of ours.
- `catboost_v8`: a registered CatBoost model of the same features.
- `shadow`: several systems over one month, predicted and graded.
- `loading`: the system that a channel names.
"""
