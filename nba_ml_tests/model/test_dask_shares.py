"""Training on a cluster, as far as it needs none: who gets which months, and what is said without Dask."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import MissingExtraError, TrainingError
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.split import SnapshotRef
from nba_ml.model.dask_training import DaskEngine, share_out
from nba_ml_tests.conftest import QUICK, split_of


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40), st.integers(1, 8))
def test_each_month_is_one_workers_and_no_worker_has_much_more(rows: list[int], workers: int) -> None:
    """Guards against rows that no worker learns, or two do, and against one that all others wait for."""
    refs = [SnapshotRef(month=f"{2000 + i}-01", digest="", rows=each) for i, each in enumerate(rows)]
    parts = share_out(refs, min(workers, len(refs)))
    assert sorted(month for part in parts for month in part) == [ref.month for ref in refs]
    sizes = [sum(ref.rows for ref in refs if ref.month in part) for part in parts]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= max(rows)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a bare ImportError in the step of whoever sets NBA_ML_DASK and installed nothing."""
    split = split_of(["2021-11"])
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nba_ml\[dask\]'"):
        DaskEngine("tcp://127.0.0.1:1", "/nowhere", XGBOOST_V1).fit(split, QUICK)


def test_an_address_with_tls_needs_a_certificate() -> None:
    """Guards against Dask's TypeError about an ssl_context, half a minute later."""
    with pytest.raises(TrainingError, match="Set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"):
        DaskEngine("tls://127.0.0.1:1", "/nowhere", XGBOOST_V1).fit(split_of(["2021-11"]), QUICK)


@pytest.mark.slow
def test_the_engine_is_imported_without_dask() -> None:
    """Guards every other training: Dask takes half a second to import, and is not installed everywhere."""
    code = "import sys, nba_ml.defs.build; print(sorted({'dask', 'distributed'} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
