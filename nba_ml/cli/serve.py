"""nba-ml serve: the HTTP service from the terminal. XGBoost and Starlette are imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from nba_ml.contract.errors import MissingExtraError, NbaMlError, SettingsError
from nba_ml.contract.proxies import parse_proxies


class _Refused(click.ClickException):
    """An error as one paragraph; the exit code of a command that could not run."""

    exit_code = 2


@contextmanager
def _in_words(*, debug: bool) -> Iterator[None]:
    """Errors as one paragraph, or a traceback with --debug; Ctrl-C is a normal exit."""
    with suppress(KeyboardInterrupt):
        try:
            yield
        except NbaMlError as error:
            if debug:
                raise
            raise _Refused(str(error)) from error


def _published_here() -> str:
    """The root that this machine publishes to.

    Raises:
        SettingsError: a setting is wrong; or nothing is published here, as this is the serving image.
    """
    try:
        from nba_ml.settings import Settings
    except ModuleNotFoundError as error:
        if error.name != "nba_ml.settings":
            raise
        raise SettingsError(
            "No model to serve was given, and this image has none of its own. Give --source or set "
            "NBA_ML_ARTIFACT_ROOT: gs://bucket/prefix, a directory, or the address of a bundle's ..._manifest.json."
        ) from error
    return Settings.from_environment().artifact_root


def _from_environment(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The tokens; refused as an option, which every user of the machine can see."""
    if context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("Give tokens in NBA_ML_TOKENS: others on this machine can see a command's options.")
    return value


@click.command(short_help="Serve predictions over HTTP.")
@click.option(
    "--source",
    envvar="NBA_ML_ARTIFACT_ROOT",
    metavar="URI",
    help="A root (directory or gs://bucket/prefix), or a bundle's ..._manifest.json. Default: NBA_ML_ARTIFACT_ROOT, "
    "else what this machine has published.",
)
@click.option("--channel", help="The channel to follow under the root. Default: champion, unless a model is named.")
@click.option("--model", "model_id", metavar="MODEL_ID", help="Serve this model and follow nothing.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 in a container.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option(
    "--refresh-seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0.05),
    help="How often the channel is read. A new champion is verified, then replaces the old one without downtime.",
)
@click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1, 1024), help="XGBoost threads per prediction."
)
@click.option("--max-rows", default=1_000, show_default=True, type=click.IntRange(1), help="Maximum rows per slate.")
@click.option(
    "--max-body-bytes", default=4 * 2**20, show_default=True, type=click.IntRange(1_000), help="Maximum request size."
)
@click.option(
    "--client-connections",
    default=256,
    show_default=True,
    type=click.IntRange(1, 1_000),
    help="Maximum concurrent connections per address. A reverse proxy counts as one address.",
)
@click.option(
    "--trusted-proxies",
    envvar="NBA_ML_TRUSTED_PROXIES",
    metavar="ADDRESSES",
    help="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, with commas. "
    "Default: NBA_ML_TRUSTED_PROXIES, else none.",
)
@click.option("--tls-certificate", metavar="FILE", help="Serve HTTPS with this certificate (PEM, with its chain).")
@click.option("--tls-key", metavar="FILE", help="The certificate's private key (PEM, not encrypted).")
@click.option(
    "--log-to",
    metavar="URI",
    help="Keep the predictions that are served under this directory or gs://bucket/prefix, as JSON lines.",
)
@click.option(
    "--log-share", default=1.0, show_default=True, type=click.FloatRange(0, 1), help="Share of requests kept there."
)
@click.option(
    "--remember",
    metavar="FILE",
    help="Keep the state of the channel in this file, and refuse an older one after a restart.",
)
@click.option("--terse", is_flag=True, help="Name the fields of a refused row, and none of its values.")
@click.option("--tokens", envvar="NBA_ML_TOKENS", hidden=True, callback=_from_environment)
@click.pass_context
def serve(
    context: click.Context,
    source: str | None,
    channel: str | None,
    model_id: str | None,
    host: str,
    port: int,
    refresh_seconds: float,
    threads: int,
    max_rows: int,
    max_body_bytes: int,
    client_connections: int,
    trusted_proxies: str | None,
    tls_certificate: str | None,
    tls_key: str | None,
    log_to: str | None,
    log_share: float,
    remember: str | None,
    terse: bool,
    tokens: str | None,
) -> None:
    """Serve predictions over HTTP: POST /predict, GET /docs, GET /health, GET /metrics, GET /openapi.json.

    The model is loaded and verified first: manifest, digests, contract, XGBoost's version, reference predictions. If
    any of these is wrong, the service does not start; there is no fallback. Ctrl-C, SIGTERM or a closed terminal
    finishes the open requests first.

    With NBA_ML_TOKENS, requests for predictions and metrics need one of these tokens: Authorization: Bearer TOKEN.

    \b
    nba-ml serve --source gs://bucket/prefix --port 8080
    curl -s localhost:8080/health
    """
    with _in_words(debug=bool(context.find_root().obj)):
        try:
            from nba_ml.serving.http.access import Access
            from nba_ml.serving.http.limits import Limits
            from nba_ml.serving.http.prediction_log import PredictionLog
            from nba_ml.serving.http.service import create_app
            from nba_ml.serving.http.service import serve as serve_app
            from nba_ml.serving.http.tls import Tls
            from nba_ml.storage.opening import open_objects
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "nba_ml":
                raise
            raise MissingExtraError(
                f"The HTTP service needs {error.name}, a dependency of nba_ml that is not installed: pip install "
                f"{error.name}."
            ) from error
        # Before the model, which takes longer.
        access = Access.of(tokens, terse=terse, proxies=parse_proxies(trusted_proxies))
        tls = Tls.of(tls_certificate, tls_key)
        source = source or _published_here()
        if channel is None and model_id is None and not source.endswith("_manifest.json"):
            channel = "champion"
        app = create_app(
            source,
            channel=channel,
            model_id=model_id,
            refresh_seconds=refresh_seconds,
            threads=threads,
            limits=Limits(body_bytes=max_body_bytes, rows=max_rows, client_connections=client_connections),
            access=access,
            prediction_log=None if log_to is None else PredictionLog(open_objects(log_to), log_share),
            remember=remember,
        )
        serve_app(app, host, port, tls)


if __name__ == "__main__":
    serve()
