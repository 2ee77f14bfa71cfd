"""The OpenAPI document, made from the types that validate requests and write answers."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.systems import SYSTEMS, XGBOOST_V1
from nba_ml.serving.http.answers import (
    EXPLAINED,
    EXPLAINED_SLATE,
    EXPLANATION,
    MEANINGS,
    PREDICTION,
    PREDICTIONS,
    Health,
    ProblemDocument,
)
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.problems import MEDIA_TYPE
from nba_ml.serving.prediction import Prediction
from nba_ml.serving.rows import FLAG, KEYS, LINE, row_type

API_VERSION = "1.1.0"
"""Of the requests and answers, by semantic versioning: a client breaks with the first number only."""

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
    predicted_points=27.7,
    model_points=28.31,
    points_low=18.02,
    points_high=37.79,
    points_low_90=15.24,
    points_high_90=40.93,
    points_quantiles=[
        15.24,
        18.02,
        19.97,
        21.46,
        22.71,
        23.82,
        24.85,
        25.83,
        26.77,
        27.7,
        28.63,
        29.59,
        30.57,
        31.61,
        32.75,
        34.05,
        35.63,
        37.79,
        40.93,
    ],
    over_probability=0.5302,
    push_probability=0.0,
    confidence_score=53.02,
    current_points_line=27.5,
    line_margin=0.2,
    recommendation="PASS",
).to_json()


_EXAMPLE_VALUES: dict[str, Any] = {
    **EXAMPLE_ROW,
    "points_ewm_12": 28.2,
    "plays_ewm_3": 25.6,
    "minutes_ewm_1": 37.0,
    "minutes_share_ewm_3": 0.15,
    "absent_points": 12.4,
    "absent_plays": 10.9,
    "days_since_last_game": 2,
    "team_games_missed": 0,
    "out_points": 18.6,
    "out_plays": 15.2,
}
"""Values of the features of all versions."""


def example_row(version: FeatureVersion) -> dict[str, Any]:
    """A row of the version, with the optional keys."""
    return {name: _EXAMPLE_VALUES[name] for name in (*KEYS, *version.names)}


def _example_record(version: FeatureVersion) -> dict[str, Any]:
    """A prediction by a model that reads the version; by the first system's, where models of two versions serve."""
    system = next((each for each in SYSTEMS.values() if each.features == version), XGBOOST_V1)
    model_id = f"{system.id}_{system.features.count}features_202412_0123456789ab"
    return {
        **EXAMPLE_RECORD,
        "system_id": system.id,
        "model_version": model_id,
        "feature_version": system.features.name,
    }


def _slate_type(row: Any) -> Any:
    """The rows of several players as a `TypedDict`."""
    make: Any = TypedDict  # to mypy, whose fields must be literal
    slate = make("Slate", {"rows": list[row]})
    slate.__doc__ = "The rows of several players."
    slate.__pydantic_config__ = ConfigDict(extra="forbid")
    return slate


_LINE_AS_FLAGGED: dict[str, Any] = {
    "if": {"properties": {FLAG: {"const": 1}}},
    "then": {"properties": {LINE: {"type": "number"}}},
    "else": {"properties": {LINE: {"type": "null"}}},
}
"""What JSON Schema calls the rule that the flag says whether there is a line."""

_PROBLEMS = {
    HTTPStatus.BAD_REQUEST: "The body is not valid JSON, or was cut off; or there are several Host headers, or none in "
    "HTTP/1.1.",
    HTTPStatus.UNAUTHORIZED: "The service has tokens, and the request has none of them.",
    HTTPStatus.REQUEST_TIMEOUT: "The body took too long to arrive.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too many bytes, values or rows.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "A content type other than application/json, or a compressed body.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Rows that break the contract. `errors` lists the first 50 faults.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests on one connection before the first was answered.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "Too many headers, or too long.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The model's output is not finite, or an unexpected error; the log has it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too many large bodies or slates at once. Try again after `Retry-After` seconds.",
}

_PREDICTED = (
    "A record, or for a slate `predictions`, in the order of the rows. Each names the system that served it: during a "
    "rollout some are the challenger's. `model_type` is xgboost, catboost, lightgbm, rule or mock. A system without an "
    "interval has null in all that comes from one, and recommends no bet; a "
    "rule has null points before a player's first game of the season. OVER and UNDER need predicted points 1.5 or more "
    "from the line and a probability of that side above 52.38%, the break-even at odds of -110; otherwise the "
    "recommendation is PASS."
)


def document(limits: Limits, version: FeatureVersion = V2_33FEATURES) -> dict[str, Any]:
    """The OpenAPI document of a service with these limits, whose rows have the features of this version."""
    row = row_type(version)
    _, schemas = TypeAdapter.json_schemas(
        [
            ("Row", "validation", TypeAdapter(row)),
            ("Slate", "validation", TypeAdapter(_slate_type(row))),
            ("Prediction", "serialization", PREDICTION),
            ("Predictions", "serialization", PREDICTIONS),
            ("ExplainedPrediction", "serialization", EXPLAINED),
            ("ExplainedPredictions", "serialization", EXPLAINED_SLATE),
            ("Problem", "serialization", TypeAdapter(ProblemDocument)),
            ("Health", "serialization", TypeAdapter(Health)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    components = schemas["$defs"]
    components["Slate"]["properties"]["rows"]["maxItems"] = limits.rows
    components["Row"] |= _LINE_AS_FLAGGED
    for name, meaning in MEANINGS.items():
        for record in ("Prediction", "ExplainedPrediction"):
            components[record]["properties"][name]["description"] = meaning
    components["ExplainedPrediction"]["properties"]["explanation"]["description"] = EXPLANATION
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nba_ml predictions",
            "summary": "NBA player points from a verified model. There is no fallback: a row that cannot be predicted "
            "is an error.",
            "version": API_VERSION,
        },
        "paths": {
            "/predict": {"post": _predict(limits.explained_rows, example_row(version), _example_record(version))},
            "/health": {"get": _get("health", "Whether a verified model is loaded, and which one.", "Health")},
            "/metrics": {"get": _get("metrics", "Counters in Prometheus' text format.", None)},
        },
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _get(operation: str, summary: str, schema: str | None) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}} if schema is None else _json({"$ref": _ref(schema)})
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}},
    }


_ANSWERS = ("Prediction", "Predictions", "ExplainedPrediction", "ExplainedPredictions")


def _predict(explained_rows: int, row: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": _ref("ProblemDocument")}}}
    one, slate = "one player", "a slate"
    return {
        "operationId": "predict",
        "summary": "Predict one player or a slate.",
        "security": [{}, {"token": []}],
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": f"1: each prediction gets `explanation`. {EXPLANATION} At most {explained_rows} rows.",
                "schema": {"enum": ["0", "1"], "default": "0"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": _json(
                {"oneOf": [{"$ref": _ref("Row")}, {"$ref": _ref("Slate")}]},
                {one: {"value": row}, slate: {"value": {"rows": [row]}}},
            ),
        },
        "responses": {
            "200": {
                "description": _PREDICTED,
                "content": _json(
                    {"anyOf": [{"$ref": _ref(name)} for name in _ANSWERS]},
                    {one: {"value": record}, slate: {"value": {"predictions": [record]}}},
                ),
            },
            **{str(status.value): {"description": text, "content": problem} for status, text in _PROBLEMS.items()},
        },
    }


def _json(schema: dict[str, Any], examples: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema} | ({"examples": examples} if examples else {})}


def _ref(schema: str) -> str:
    return f"#/components/schemas/{schema}"
