"""The feature backfill: box scores and lines in, rows of the feature store out.

What belongs here: the SQL that computes the features, one file per step, and the function that
runs it. What does not: names, order and ranges of features (the contract's), and where rows come from.
"""

from nba_ml.data.features.backfill import compute_features, features_code_digest, match_lines

__all__ = ["compute_features", "features_code_digest", "match_lines"]
