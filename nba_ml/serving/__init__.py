"""What a prediction worker imports to verify a published bundle and predict with it.

    from nba_ml.serving import Predictor

    predictor = Predictor.load("gs://bucket/prefix", channel="champion")
    record = predictor.predict({"points_avg_last_5": 21.4, ..., "player_lookup": "lukadoncic"})

What belongs here: code that needs XGBoost, NumPy, Pydantic and light modules of lower packages only. What does not:
Dagster, Arrow, pandas, and anything else that a worker would have to load. Google's libraries are imported
for a `gs://` address, Starlette when the HTTP service starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nba_ml.serving.prediction import Prediction
    from nba_ml.serving.predictor import Predictor

__all__ = ["Prediction", "Predictor"]


def __getattr__(name: str) -> Any:
    """Import `Predictor` and `Prediction` on first use.

    The fresh process that verifies a bundle imports this package too, and needs neither.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.lower()}"), name)
