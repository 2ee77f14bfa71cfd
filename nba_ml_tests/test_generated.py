"""Docs and schema that drift from the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml.contract.thresholds import Thresholds
from nba_ml_tests.docs.markdown import ROOT
from nba_ml_tests.docs.tables import RELEASE_LIMITS, limits_of_checks
from nba_ml_tests.generated import PARTS, SCHEMA, generated_pages, schema, with_parts

REGENERATE = "run `python -m nba_ml_tests.generated` and look at the difference"


@pytest.mark.parametrize("page", generated_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_parts_are_those_of_the_code(page: Path) -> None:
    """A feature, a threshold, an option changed, and the page still shows the old one."""
    assert page.read_text() == with_parts(page.read_text()), REGENERATE


def test_every_generated_part_is_on_a_page() -> None:
    """A marker was lost in an edit, and the page would never be updated again."""
    assert sorted({part for parts in generated_pages().values() for part in parts}) == sorted(PARTS)


def test_every_limit_names_who_uses_it() -> None:
    """A limit was added, and the page does not say which check uses it."""
    used = {name for names in limits_of_checks().values() for name in names} | RELEASE_LIMITS.keys()
    assert sorted(Thresholds.model_fields.keys() - used) == []


def test_schema_file_is_that_of_the_record() -> None:
    """The record changed and readers in other languages still get the old schema."""
    assert SCHEMA.read_text() == schema(), REGENERATE
