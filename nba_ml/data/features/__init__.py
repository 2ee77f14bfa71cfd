"""The feature backfill: computes rows of the feature store from box scores and lines.

Contains the SQL, one file per step, and the function that runs it. The contract defines names, order and ranges.
"""

from nba_ml.data.features.compute import compute_features, features_code_digest, inactive_lists, match_lines

__all__ = ["compute_features", "features_code_digest", "inactive_lists", "match_lines"]
