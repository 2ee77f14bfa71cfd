"""nba_ml: from NBA player-game features to a checked, published XGBoost model of points.

Importing the package is cheap on purpose: a prediction worker imports `nba_ml.serving` and
must not pay for Dagster.
"""

from nba_ml.machine import wait_passively

__version__ = "0.1.0"

wait_passively()
