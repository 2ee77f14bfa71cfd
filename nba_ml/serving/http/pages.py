"""The service's pages for people: the API with a form to try it, the model that serves, and its health.

Jinja2 pages with a style and a script of their own, made from the OpenAPI document. Not Swagger UI: the packages that
ship its files are 9 MB with a version that cannot read OpenAPI 3.1 (swagger-ui-bundle), or 25 MB (swagger-ui-py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nba_ml.contract.features import FeatureVersion
from nba_ml.serving.http.answers import Health
from nba_ml.serving.http.openapi import example_row
from nba_ml.serving.loaded import Loaded
from nba_ml.serving.model import LoadedModel
from nba_ml.serving.predictor import Serving

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

Rows = list[tuple[str, str]]


def page_routes(
    document: Callable[[FeatureVersion], dict[str, Any]],
    serving: Callable[[], Serving],
    health: Callable[[], Health],
    *,
    tokens: bool,
) -> list[Route]:
    """The pages under `/docs`, for the features of the models that serve when a page is asked for.

    `document`: the OpenAPI document of a version. `tokens`: whether `/predict` asks for one.
    """

    @cache
    def api(version: FeatureVersion) -> str:
        return _api(document(version), version, tokens)

    async def api_page(_: Request) -> Response:
        return _html(api(serving().features))

    async def example(_: Request) -> Response:
        return Response(_example(serving().features), media_type="application/json", headers=_HEADERS)

    async def model_page(_: Request) -> Response:
        return _html(_model(serving(), tokens))

    async def health_page(_: Request) -> Response:
        return _html(_health(health(), tokens))

    def static(name: str, kind: str, content: str | bytes) -> Route:
        async def page_file(_: Request) -> Response:
            return Response(content, media_type=kind, headers=_HEADERS)

        return Route(f"/docs/{name}", page_file)

    templates = files("nba_ml.serving.http") / "templates"

    return [
        Route("/docs", api_page),
        Route("/docs/model", model_page),
        Route("/docs/health", health_page),
        static("page.css", "text/css", (templates / "page.css").read_bytes()),
        static("page.js", "text/javascript", (templates / "page.js").read_bytes()),
        Route("/docs/example.json", example),
    ]


def _html(content: str) -> Response:
    return Response(content, media_type="text/html", headers=_HEADERS)


@cache
def _templates() -> Environment:
    loader = PackageLoader("nba_ml.serving.http")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(f"{template}.html.jinja").render(**values)


def _example(version: FeatureVersion) -> str:
    return json.dumps(example_row(version), indent=1)


def _api(document: dict[str, Any], version: FeatureVersion, tokens: bool) -> str:
    predict, schemas = document["paths"]["/predict"]["post"], document["components"]["schemas"]
    token = ' -H "Authorization: Bearer $TOKEN"' if tokens else ""
    post = f"curl -s{token} -H 'Content-Type: application/json' -d @row.json"
    return _render(
        "api",
        title="Predictions of NBA player points",
        here="API",
        base="",
        tokens=tokens,
        document=document,
        example=_example(version),
        commands=[
            "curl -s localhost:8080/health",
            f"curl -s localhost:8080/docs/example.json > row.json\n{post} localhost:8080/predict",
            f"{post} 'localhost:8080/predict?explain=1'",
        ],
        requests=[
            (f"{method.upper()} {path}", operation["summary"])
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ],
        keys="player_lookup, game_date and game_id are optional and come back with the prediction.",
        version=version.name,
        features=[
            (
                each.name,
                each.definition,
                each.unit,
                f"{each.low:g} to {each.high:g}",
                each.missing_when or "not allowed",
            )
            for each in version.features
        ],
        predicted=predict["responses"]["200"]["description"],
        fields=[(name, each["description"]) for name, each in schemas["Prediction"]["properties"].items()],
        statuses=[(status, each["description"]) for status, each in predict["responses"].items()],
    )


def _model(serving: Serving, tokens: bool) -> str:
    sections = [("Champion" if serving.state else "Model", list(_facts_of(serving.model)))]
    if serving.challenger is not None and serving.state is not None:
        share = ("share", f"{serving.state.share}% of the player-games")
        sections.append(("Challenger", [*_facts_of(serving.challenger), share]))
    lead = "What serves now. Each prediction names the model that made it."
    return _render("facts", title="Model", here="Model", base="../", tokens=tokens, lead=lead, sections=sections)


def _facts_of(model: Loaded) -> Iterator[tuple[str, str]]:
    yield "model", model.model_id
    yield "kind", model.identity.model_type
    yield "sha256", model.model_sha256 or "none: a rule"
    yield "features", model.identity.feature_version
    yield "newest month", model.newest_month or "none: a rule"
    if not isinstance(model, LoadedModel):
        return
    record = model.record
    if first := _at(record, "first_date"):
        yield "trained on", f"{_at(record, 'rows'):,} rows, {first} to {_at(record, 'last_date')}"
    if mae := _at(record, "metrics", "validation", "mae"):
        yield "mean absolute error", f"{mae:.3f} points on {_at(record, 'metrics', 'validation', 'n'):,} later rows"
    baselines = _at(record, "metrics", "baselines") or {}
    for name, result in baselines.items():
        interval = result["gain_interval"]
        yield (
            f"gain over {name.replace('_', ' ')}",
            f"{result['gain']:+.3f} points (95% {interval['low']:+.3f} to {interval['high']:+.3f})",
        )
    if (inside := _at(record, "metrics", "coverage", "overall", "inside")) is not None:
        yield "inside the 80% interval", f"{inside:.1%} of those rows"


def _at(record: Mapping[str, Any], *names: str) -> Any:
    """A value inside the record; None where an older release wrote none."""
    found: Any = record
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _health(health: Health, tokens: bool) -> str:
    ok = "ok: a verified model serves."
    degraded = "degraded: the loaded model serves on, but it may no longer be the champion."
    content = health.model_dump(mode="json")
    nested = {name: content.pop(name) for name in ("model", "channel")}
    sections = [("Service", _rows(content))]
    sections += [(name.capitalize(), _rows(each)) for name, each in nested.items() if each is not None]
    lead = f"Status {ok if health.status == 'ok' else degraded}"
    return _render("facts", title="Health", here="Health", base="../", tokens=tokens, lead=lead, sections=sections)


def _rows(content: Mapping[str, Any]) -> Rows:
    return [(name.replace("_", " "), _shown(value)) for name, value in content.items()]


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat() if isinstance(value, datetime) else str(value)
