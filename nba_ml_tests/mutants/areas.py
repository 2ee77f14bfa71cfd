"""The areas that mutants are planted in, each with the tests that guard it, fastest first.

A mutant is judged by these tests alone, so each area's tests must find its faults without the rest of the suite.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Area:
    """`modules` are files and folders of the package, `tests` of nba_ml_tests.

    `select` is pytest's -k: it leaves out what is too slow to run on each mutant.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    select: str = ""


AREAS = {
    "calibration": Area(
        ("nba_ml/model/calibration.py",),
        ("model/test_calibration_values.py", "model/test_calibration.py", "model/test_spread.py"),
        "not real_model",
    ),
    "planner": Area(("nba_ml/runner/planner.py",), ("runner/test_planner_rules.py",)),
    "notices": Area(
        ("nba_ml/monitoring", "nba_ml/defs/sensors/failures.py"),
        ("monitoring/test_health.py", "monitoring/test_notice_rules.py", "monitoring/test_notify.py"),
        "not test_notify or subject or recipient or starttls or does_not_take or without_a_target",
    ),
    "stores": Area(
        tuple(f"nba_ml/storage/{name}.py" for name in ("objects", "directory", "months", "opening")),
        ("storage/test_store_rules.py", "storage/test_directory.py"),
    ),
    "serving": Area(
        ("nba_ml/serving",),
        (
            "serving/test_watch_rules.py",
            "serving/test_row_edges.py",
            "serving/test_sources.py",
            "serving/test_predictor_rules.py",
            "serving/test_model_rules.py",
            "serving/http/test_turns.py",
            "serving/http/test_protocol.py",
            "serving/http/test_requests.py",
            "serving/http/test_service_rules.py",
            "serving/http/test_access.py",
            "serving/http/test_connections.py",
            "serving/http/test_pages.py",
            "serving/http/test_openapi.py",
            "serving/test_rows.py",
            "serving/test_bulk_rows.py",
            "serving/test_memory.py",
            "serving/http/test_prediction_log.py",
        ),
    ),
    "publication": Area(
        tuple(f"nba_ml/registry/{name}.py" for name in ("publication", "reader", "manifest", "verdict")),
        (
            "registry/test_manifest.py",
            "registry/test_verdict.py",
            "registry/test_publication.py",
            "registry/test_reader.py",
        ),
        "not cloud and not killed and not publishers and not process and not program and not child and not loads"
        " and not last_bit and not other_features",
    ),
    "channel": Area(
        tuple(f"nba_ml/registry/{name}.py" for name in ("channel", "moves", "repeatable", "rollback", "states")),
        ("registry/test_channel_rules.py",),
    ),
}
