"""The names of all settings, so that a misspelt one is refused instead of ignored, and paths as they were meant.

With a letter missing in the name of the tokens, a service would answer everyone; with one too many in that of the
artifact root, a run would publish into the home. Only names that are nearly a setting's are refused: Kubernetes names
its services in the environment of every container, with the same prefix if a service is called after us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from nba_ml.contract.errors import SettingsError

_PREFIX = "NBA_ML_"

SETTINGS = frozenset(
    _PREFIX + name
    for name in """
    HOME DATA STORE ARTIFACT_ROOT TOKENS TRUSTED_PROXIES TRUSTED_KEYS PUBLISHER_KEY PROMOTER_KEY SIGNATURE_DAYS NBA_API
    THREADS ROWS_IN_MEMORY THRESHOLDS DASK REPORT_CUTOFF SYSTEMS RETRAIN SOURCE FIRST_MONTH FEATURE_VERSIONS
    FEATURE_TABLE SUMMARY_TABLE LINES_TABLE PREDICTION_TABLE PLATFORM_SYSTEMS SYSTEM_IDS BILLING_PROJECT
    BIGQUERY_PROJECT BIGQUERY_FEATURES BIGQUERY_LOCATION BIGQUERY_MAX_BYTES NOTIFY_WEBHOOK NOTIFY_EMAIL
    SMTP_HOST SMTP_PORT SMTP_SECURITY SMTP_USER SMTP_PASSWORD SMTP_FROM UI_URL UI_HOSTS
    """.split()  # noqa: SIM905 - six lines instead of forty
)
"""As the reference has them; a test compares."""

_ALIKE = 0.8
"""Similarity from which a name is a misspelling: SMTP_PASS and SMTP_PASSWORD have 0.82, DASK_PORT and DASK 0.62."""


def require_known_names(names: Iterable[str]) -> None:
    """Pass silently if none of the environment's names is nearly that of a setting.

    Raises:
        SettingsError: one is; names both.
    """
    suffixes = [name.removeprefix(_PREFIX) for name in SETTINGS]
    for name in sorted(names):
        if not name.upper().startswith(_PREFIX) or name in SETTINGS:
            continue
        if meant := get_close_matches(name.upper().removeprefix(_PREFIX), suffixes, 1, _ALIKE):
            raise SettingsError(
                f"{name} is set, and no setting has this name, so that it would be ignored. Did you mean "
                f"{_PREFIX}{meant[0]}? Rename it, or unset it."
            )


def bare_path(environ: Mapping[str, str], name: str) -> str:
    """The value of a setting that is a path; empty if it is unset.

    Raises:
        SettingsError: it has what a file of settings may leave around it, and would be taken for a relative path.
    """
    value = environ.get(name) or ""
    if value != value.strip() or (value[:1] in ("'", '"') and value[:1] == value[-1:]):
        raise SettingsError(f"{name} is {value!r}. Write the path without quotes or blanks around it.")
    return value
