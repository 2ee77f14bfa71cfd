"""Docs and schema that drift from the code."""

from __future__ import annotations

from nba_ml_tests.generated import README, SCHEMA, schema, with_parts

REGENERATE = "run `python -m nba_ml_tests.generated` and look at the difference"


def test_readme_tables_are_those_of_the_code() -> None:
    """A feature or a threshold changed and the README still tells the old one."""
    text = README.read_text()
    assert text == with_parts(text), REGENERATE


def test_schema_file_is_that_of_the_record() -> None:
    """The record changed and readers in other languages still get the old schema."""
    assert SCHEMA.read_text() == schema(), REGENERATE
