"""Publishers in processes of their own, for the kernel to kill and for races: what the fault tests start.

The tests speak to them over their standard input and output, a line at a time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nba_ml.registry.publication import Bundle, publish
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.cloud.gcs import emulator_client
from nba_ml_tests.registry.publication_machine import bundle_of, promote


def publish_and_promote(store: CloudStore, bundle: Bundle, author: str) -> tuple[bool, list[int]]:
    """Publish a bundle and promote it twice, so that every kind of write is among the calls.

    Returns whether this publisher created the bundle, and the serials of its promotions.
    """
    created = publish(store, bundle).created
    return created, [promote(store, bundle.model_id, author) for _ in range(2)]


def _in_forks(endpoint: str, bucket: str, bundle: Bundle) -> None:
    """For each line, a prefix: publish there in a forked process, and say how that ended (-9: it was killed)."""
    print("ready", flush=True)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            client = emulator_client(endpoint, x_client=str(os.getpid()))
            publish_and_promote(CloudStore(bucket, line.strip(), client), bundle, "forked")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _racing(endpoint: str, bucket: str, bundle: Bundle, author: str) -> None:
    """For each line, a prefix: publish there while others do, and say what came of it."""
    client = emulator_client(endpoint)
    print("ready", flush=True)
    for line in sys.stdin:
        created, serials = publish_and_promote(CloudStore(bucket, line.strip(), client), bundle, author)
        print(int(created), *serials, flush=True)


if __name__ == "__main__":
    what, endpoint, bucket, booster, *rest = sys.argv[1:]
    bundle = bundle_of(Path(booster).read_bytes())
    if what == "in-forks":
        _in_forks(endpoint, bucket, bundle)
    elif what == "racing":
        _racing(endpoint, bucket, bundle, rest[0])
    else:
        raise SystemExit(f"unknown: {what}")
