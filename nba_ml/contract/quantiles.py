"""The published quantiles of a prediction: their levels, and the columns of tables that hold them."""

from __future__ import annotations

PUBLISHED_LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""0.05 to 0.95."""

QUANTILE_COLUMNS = tuple(f"points_q{round(100 * level):02d}" for level in PUBLISHED_LEVELS)
"""`points_q05` to `points_q95`."""
