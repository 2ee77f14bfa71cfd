"""What the OpenAPI document says of requests and answers, taken from the contract and the record."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import TypeAdapter

from nba_ml.contract.features import V2_33FEATURES, Feature
from nba_ml.serving.http.problems import MEDIA_TYPE
from nba_ml.serving.prediction import Prediction

# Without a null, though some may be: FastAPI leaves nulls out of the document, and a row needs every name.
EXAMPLE_ROW: dict[str, Any] = {
    "player_lookup": "lukadoncic",
    "game_date": "2025-01-15",
    "game_id": "20250115_DAL_NOP",
    "points_avg_last_5": 28.4,
    "points_avg_last_10": 27.9,
    "points_avg_season": 28.1,
    "points_std_last_10": 7.2,
    "games_in_last_7_days": 3,
    "fatigue_score": 90,
    "shot_zone_mismatch_score": 0.8,
    "pace_score": -0.6,
    "usage_spike_score": 0.2,
    "rest_advantage": 1,
    "injury_risk": 0,
    "recent_trend": 1,
    "minutes_change": 0,
    "opponent_def_rating": 114.2,
    "opponent_pace": 99.1,
    "home_away": 0,
    "back_to_back": 0,
    "playoff_game": 0,
    "pct_paint": 0.31,
    "pct_mid_range": 0.27,
    "pct_three": 0.42,
    "pct_free_throw": 0.19,
    "team_pace": 100.3,
    "team_off_rating": 116.0,
    "team_win_pct": 0.55,
    "vegas_points_line": 27.5,
    "vegas_opening_line": 28.0,
    "vegas_line_move": -0.5,
    "has_vegas_line": 1,
    "avg_points_vs_opponent": 29.3,
    "games_vs_opponent": 8,
    "minutes_avg_last_10": 36.2,
    "ppm_avg_last_10": 0.78,
}

EXAMPLE_RECORD = Prediction(
    system_id="xgboost_v1",
    model_version="xgboost_v1_33features_202412_0123456789ab",
    model_type="xgboost",
    model_sha256="0123456789ab" + "0" * 52,
    feature_version=V2_33FEATURES.name,
    player_lookup="lukadoncic",
    game_date=date(2025, 1, 15),
    game_id="20250115_DAL_NOP",
    predicted_points=28.31,
    points_low=18.6,
    points_high=38.44,
    over_probability=0.5302,
    confidence_score=53.02,
    current_points_line=27.5,
    line_margin=0.81,
    recommendation="PASS",
).to_json()


def _feature_schema(feature: Feature) -> dict[str, Any]:
    missing = f" null: {feature.missing_when}." if feature.nullable else ""
    kind = "integer" if feature.unit == "0/1" else "number"
    return {
        "type": [kind, "null"] if feature.nullable else kind,
        "minimum": feature.low,
        "maximum": feature.high,
        "description": f"{feature.definition} ({feature.unit}).{missing}",
    }


ROW: dict[str, Any] = {
    "title": "Row",
    "type": "object",
    "description": f"The features of {V2_33FEATURES.name} by name, and the keys that come back with the prediction.",
    "properties": {
        "player_lookup": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
        "game_date": {"type": ["string", "null"], "format": "date"},
        "game_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
        **{feature.name: _feature_schema(feature) for feature in V2_33FEATURES.features},
    },
    "required": list(V2_33FEATURES.names),
    "additionalProperties": False,
}

RECORD: dict[str, Any] = TypeAdapter(Prediction).json_schema()

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": ["integer", "null"]},
                    "field": {"type": ["string", "null"]},
                    "problem": {"type": "string"},
                },
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}


def predict_operation(rows: int) -> dict[str, Any]:
    """The parts of `/predict` that FastAPI cannot read off a function; `rows` is the most of a slate."""
    slate = {
        "title": "Slate",
        "type": "object",
        "properties": {"rows": {"type": "array", "items": ROW, "maxItems": rows}},
        "required": ["rows"],
        "additionalProperties": False,
    }
    answer = {
        "title": "Predictions",
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": RECORD}},
    }
    problem = {MEDIA_TYPE: {"schema": PROBLEM}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [ROW, slate]},
                    "examples": {
                        "one player": {"value": EXAMPLE_ROW},
                        "a slate": {"value": {"rows": [EXAMPLE_ROW]}},
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": "A record, or for a slate `predictions`, in the order of the rows. Each says which "
                "system served it: in a rollout some are the challenger's. `model_type` is xgboost, catboost, rule or "
                "mock; a system without an interval has null in points_low, points_high, over_probability and "
                "confidence_score and recommends no bet, and a rule has null points before a player's first game of "
                "the season. OVER and UNDER need predicted points 1.5 or more from the line and a probability of that "
                "side above 52.38%, the break-even at odds of -110; otherwise the recommendation is PASS.",
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [RECORD, answer]},
                        "examples": {
                            "one player": {"value": EXAMPLE_RECORD},
                            "a slate": {"value": {"predictions": [EXAMPLE_RECORD]}},
                        },
                    }
                },
            },
            "400": {"description": "No JSON.", "content": problem},
            "413": {"description": "Too many bytes or rows.", "content": problem},
            "415": {"description": "Another content type.", "content": problem},
            "422": {"description": "Rows that break the contract, named one by one.", "content": problem},
        },
    }
