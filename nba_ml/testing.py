"""For a test suite of your own: hold a month to its asset checks.

    from nba_ml.testing import check_month

    def test_the_model_of_june_is_fit_to_serve():
        check_month("2025-06").require_passed()

The settings are those of the environment (NBA_ML_HOME and the others), or the ones given. Runs the checks on what
is materialised there, and computes nothing else.
"""

from __future__ import annotations

from nba_ml.contract.season import parse_month
from nba_ml.runner import check_run
from nba_ml.runner.session import open_session
from nba_ml.settings import Settings

__all__ = ["check_month"]


def check_month(month: str, settings: Settings | None = None) -> check_run.CheckReport:
    """What every asset check says of a month. `require_passed()` of the report raises if one failed.

    Raises:
        MonthError: not a season month.
        MissingMonthsError: nothing of the month is materialised in that home.
    """
    parse_month(month)
    with open_session(settings or Settings.from_environment()) as session:
        return check_run.check_month(session, month)
