"""How much nba_ml reads of a file or an object, and what a model file may take to load. Larger is refused unread.

Far above what real ones have, which each docstring states. The HTTP service's own limits are in
`serving.http.limits`, the checks' in `contract.thresholds`.
"""

from __future__ import annotations

MODEL_BYTES = 32 * 2**20
"""Of a model file. Ours have 1.4 MB, CatBoost's of the platform 2 MB."""

TREES = 20_000
"""Of a model. Ours have 200."""

TREE_DEPTH = 64
"""Levels of a tree; a power of two. Ours have 6, and the deepest that can be configured 16."""

TRIAL_MEMORY_BYTES = 4 * 2**30
"""Address space of the process that loads a model first, on one core. It takes 0.6 GB with XGBoost and LightGBM and 1.8
with CatBoost, and uses 150 MB of that."""

TRIAL_CPU_SECONDS = 120
"""Processor time of that process. It takes 1 to 3 seconds."""
