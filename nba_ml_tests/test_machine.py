"""The cores that a process may use, and how its threads wait: files as kernels write them, and real processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nba_ml.machine import available_cores, return_memory, wait_passively

PLENTY = range(64)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty file system of a machine on which 64 cores may be used."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(PLENTY))
    return tmp_path


def laid_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({}, 64, id="no cgroups"),
        pytest.param({"proc/self/cgroup": "0::/\n"}, 64, id="the root of version 2 has no quota"),
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 64, id="no limit"),
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, id="container"),
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2, id="1.5 cores"),
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1, id="a tenth"),
        pytest.param(
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
             "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3, id="the slice above a unit is tighter"),
        pytest.param(
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "300000 100000\n",
             "sys/fs/cgroup/a/cpu.max": "900000 100000\n"}, 3, id="the unit is tighter"),
        pytest.param(
            {"proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/x\n0::/\n",
             "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "400000\n",
             "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, 4, id="version 1"),
        pytest.param(
            {"proc/self/cgroup": "4:cpu,cpuacct:/docker/of/the/host\n",
             "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
             "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000\n"}, 5, id="version 1 in a container"),
        pytest.param(
            {"proc/self/cgroup": "1:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
             "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64, id="version 1 without a limit"),
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "\n"}, 64, id="not readable"),
    ],
)  # fmt: skip
def test_quotas_bound_the_cores(root: Path, files: dict[str, str], cores: int) -> None:
    """Guards against 64 threads in a container of two cores, and against a quota of the wrong level."""
    assert available_cores(laid_out(root, files)) == cores


def python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What a process says that has not inherited how this one's threads wait."""
    waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    ours = {name: value for name, value in os.environ.items() if name not in waiting}
    return subprocess.run(
        [sys.executable, "-c", code], env={**ours, **environ}, capture_output=True, text=True, check=True
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_default_number_of_threads_follows_the_affinity() -> None:
    """Guards a training that was pinned to one core: DuckDB would start a thread for every core of the machine."""
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from nba_ml.settings import Settings; print(Settings.from_environment({}).threads)"
    )
    assert python(code).stdout.split() == ["1"]


@pytest.mark.slow
def test_a_given_number_of_threads_stays() -> None:
    """Guards a user's own choice, which may be higher."""
    code = "from nba_ml.settings import Settings; print(Settings.from_environment({'NBA_ML_THREADS': '7'}).threads)"
    assert python(code).stdout.split() == ["7"]


ENTRY_POINTS = {
    "the command line": ["from nba_ml.cli.main import main", "import nba_ml.model.fitting, xgboost"],
    "the code location": ["import nba_ml.definitions", "import xgboost"],
    "the fresh process": ["import nba_ml.registry.reference, xgboost"],
    "the service": ["import nba_ml.serving.http.service"],
    "the predictor": ["from nba_ml.serving import Predictor"],
    "the tests": ["import nba_ml_tests", "import xgboost"],
    "LightGBM": ["import nba_ml", "import lightgbm"],
}


@pytest.mark.slow
@pytest.mark.parametrize("imports", ENTRY_POINTS.values(), ids=ENTRY_POINTS.keys())
def test_openmp_waits_passively_wherever_one_enters(imports: Sequence[str]) -> None:
    """Guards against an entry that loads the library first: OpenMP itself says what it has read."""
    told = python("\n".join(imports), OMP_DISPLAY_ENV="verbose").stderr
    # Not OMP_WAIT_POLICY: libgomp says PASSIVE of its default too, which spins 300,000 times before it sleeps.
    assert "GOMP_SPINCOUNT = '0'" in told


@pytest.mark.parametrize(
    "own", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "5"}, {"KMP_BLOCKTIME": "200"}], ids=str
)
@pytest.mark.slow
def test_a_users_own_setting_stays(own: dict[str, str]) -> None:
    """Guards a machine whose owner has decided how its threads wait."""
    environ = dict(own)
    wait_passively(environ)
    assert environ == own
    told = python("import nba_ml, xgboost", OMP_DISPLAY_ENV="verbose", **own).stderr
    assert "GOMP_SPINCOUNT" in told
    assert "GOMP_SPINCOUNT = '0'" not in told


def test_an_empty_setting_is_none() -> None:
    """Guards a compose file's `OMP_WAIT_POLICY=`: OpenMP calls it invalid, and spins."""
    environ = {"OMP_WAIT_POLICY": ""}
    wait_passively(environ)
    assert environ == {"OMP_WAIT_POLICY": "passive"}


ARENAS = """
import ctypes, sys, threading
{first}
together = threading.Barrier(8)
def allocate():
    together.wait()
    kept.append(bytearray(100_000))
kept = []
threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(out))
libc.fflush(ctypes.c_void_p(out))
"""
RETURNED = "from nba_ml.machine import return_memory; return_memory()"


@pytest.mark.slow
def test_threads_share_one_place_of_free_memory() -> None:
    """Guards against a backfill whose threads each keep what they once had: the C library counts their places."""
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("malloc_info is glibc's")
    assert python(ARENAS.format(first=RETURNED)).stdout.count("<heap nr=") == 1
    assert python(ARENAS.format(first="")).stdout.count("<heap nr=") > 1
    assert python(ARENAS.format(first=RETURNED), MALLOC_ARENA_MAX="4").stdout.count("<heap nr=") > 1


@pytest.mark.slow
def test_arrow_keeps_no_memory_of_its_own_unless_the_user_wants_it() -> None:
    """Guards against a setting that comes after Arrow's import and has no effect, and against one over the user's."""
    asked = f"{RETURNED}; import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    assert python(asked).stdout.strip() == "system"
    assert python(asked, ARROW_DEFAULT_MEMORY_POOL="mimalloc").stdout.strip() == "mimalloc"
    environ = {"MALLOC_ARENA_MAX": "4", "MALLOC_MMAP_THRESHOLD_": "131072"}
    return_memory(environ)
    assert environ == {
        "MALLOC_ARENA_MAX": "4",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


@pytest.mark.slow
def test_an_open_home_returns_its_memory(tmp_path: Path) -> None:
    """Guards the 500 MB of a backfill: where its session is opened, Arrow must not have been imported before."""
    opened = """
from nba_ml.runner.session import open_session
from nba_ml.settings import Settings
with open_session(Settings.from_environment()):
    import pyarrow
    print(pyarrow.default_memory_pool().backend_name)
"""
    assert python(opened, NBA_ML_HOME=str(tmp_path / "home")).stdout.strip() == "system"
