"""This process and its machine: its cores, how threads wait for each other, what it does with free memory, its command.

Imports the standard library only: `nba_ml` imports this before anything else.
"""

from __future__ import annotations

import ctypes
import math
import os
import shlex
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
"""Parameters of glibc's mallopt (malloc.h)."""

_LARGE_BYTES = 1 << 20
"""Blocks from here on are returned as soon as they are freed. glibc raises its own limit to 32 MB, and keeps those."""


def wait_passively(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the user has said how they should wait.

    By default they spin. On a machine with other work that takes the very cores that the thread they wait for needs:
    30 boosting rounds took 79 s instead of 6.7 s. XGBoost, LightGBM and CatBoost read this when they are loaded, so it
    must be set before.
    """
    if not (environ.get("OMP_WAIT_POLICY") or environ.get("GOMP_SPINCOUNT") or environ.get("KMP_BLOCKTIME")):
        environ["OMP_WAIT_POLICY"] = "passive"


def return_memory(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let freed memory go back to the system, in a process that computes and trains month after month.

    Arrow's own allocator and the C library's arenas, one for each thread, keep what they once had: a tenth of a
    backfill's peak. Must be called before Arrow is imported. What the user has set stays.
    """
    environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is None:  # glibc only
        return
    if "MALLOC_ARENA_MAX" not in environ:
        tune(_ARENA_MAX, 1)
    if "MALLOC_MMAP_THRESHOLD_" not in environ:
        tune(_MMAP_THRESHOLD, _LARGE_BYTES)


def command_line() -> str:
    """The command that this process was started with, as a shell takes it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, bounded by the CPU quotas of its cgroup and of those above it.

    XGBoost sees the affinity but not the quota of a nested cgroup (a systemd unit), DuckDB the quota but not the
    affinity. A quota of one core and a half counts as two.

    Args:
        root: of the file system that holds /proc and /sys.
    """
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Quotas, in cores, of the cgroup and of those above it, in version 2 and version 1."""
    for folder in _cgroups(root):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if quota != "max" and int(quota) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # no quota here, as in the root of the hierarchy, or not readable: it bounds nothing


def _cgroups(root: Path) -> Iterator[Path]:
    """Folders of this process' cgroup with the CPU controller and of those above it.

    In a container /proc may name the path on the host, which is not there; the container's own is then the mount point.
    """
    try:
        entries = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for entry in entries:
        _, controllers, path = entry.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in ((root / "sys/fs/cgroup" / controllers), *([root / "sys/fs/cgroup/cpu"] if controllers else [])):
            inner = PurePosixPath(path.lstrip("/"))
            yield from (mount / each for each in (inner, *inner.parents))
