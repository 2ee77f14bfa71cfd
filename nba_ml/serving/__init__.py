"""What a prediction worker imports: verify a published bundle, predict with it.

What belongs here: code that needs XGBoost, NumPy and the feature contract only. What does not:
Dagster, pydantic, Arrow, and anything else that a worker would have to install and to load.
"""
