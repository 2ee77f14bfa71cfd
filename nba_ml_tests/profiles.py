"""How many examples Hypothesis tries: few while developing (`dev`), all of them in CI (`ci`).

HYPOTHESIS_PROFILE chooses; without it, `ci` where the variable CI is set. Neither profile has a deadline: a busy
machine is no failure.
"""

from __future__ import annotations

import os

from hypothesis import settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")

DEV_SHARE = 10
"""The `dev` profile tries one example of this many."""

FEWEST = 10
"""Examples that the `dev` profile tries at least."""


def examples(thorough: int, profile: str = PROFILE) -> int:
    """`max_examples` of a test that needs another number than the profile's: `thorough` in CI, fewer in `dev`."""
    return thorough if profile == "ci" else min(thorough, max(FEWEST, thorough // DEV_SHARE))


def load_profile() -> None:
    """Register both profiles and load the chosen one. An unknown name is Hypothesis' own error."""
    settings.register_profile("dev", deadline=None, max_examples=examples(100, "dev"))
    settings.register_profile("ci", deadline=None, max_examples=100, print_blob=True)
    settings.load_profile(PROFILE)
