"""The tests. `nba_ml` comes first: it says how OpenMP waits, before a test loads XGBoost."""

import nba_ml  # noqa: F401
