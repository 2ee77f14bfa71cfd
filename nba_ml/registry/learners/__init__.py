"""The learners whose model files can be registered: CatBoost, XGBoost and LightGBM.

- `interface`: what a learner is, and a parsed model.
- `catboost`, `xgboost`, `lightgbm`: one learner each. CatBoost and LightGBM are optional extras, imported when needed.
- `known`: all of them, by system id and by the first bytes of a file.
- `missing`: what a model gets in place of a missing value.
- `process`: predicts with a model file in a new process.

The prediction worker imports these modules: standard library, NumPy and the learner itself only.
"""
