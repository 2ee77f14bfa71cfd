"""The limits: shipped ones with their source, a user's own from a file, and what is said of a file that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.thresholds import Thresholds


def test_every_limit_has_a_source() -> None:
    """Guards against a number that nobody can defend."""
    for name, field in Thresholds.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """Guards against a file that resets the limits it does not mention."""
    file = tmp_path / "limits.toml"
    file.write_text("max_validation_mae = 4.8\nbias = [-1.0, 0.5]\n")
    limits = Thresholds.from_file(file)
    assert (limits.max_validation_mae, limits.bias) == (4.8, (-1.0, 0.5))
    assert limits.changed() == {"max_validation_mae": 4.8, "bias": [-1.0, 0.5]}
    assert Thresholds().changed() == {}
    assert limits.min_rows == Thresholds().min_rows


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("max_mae = 4.8\n", "max_mae: Extra inputs are not permitted"),
        ("min_coverage = 80\n", "min_coverage: Input should be less than or equal to 1"),
        ("max_validation_mae = 'low'\n", "max_validation_mae: Input should be a valid number"),
        ("max_validation_mae = true\n", "max_validation_mae: Input should be a valid number"),
        ("max_champion_age_days = '45'\n", "max_champion_age_days: Input should be a valid integer"),
        ("bias = [true, 2]\n", "bias.0: Input should be a valid number"),
        ("max_validation_mae: 4.8\n", "is not valid TOML"),
        ("bias = [0.6, -1.2]\n", "bias: Value error, 0.6 is above -1.2; give the low end first"),
        # The manifest of a model names the limits that were changed, and JSON has no infinity.
        ("max_train_gap = inf\n", "max_train_gap: Input should be a finite number"),
        ("min_gain = nan\n", "min_gain: Input should be a finite number"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_reason(tmp_path: Path, content: str, said: str) -> None:
    """Guards against a misspelt limit that silently stays at its default."""
    file = tmp_path / "limits.toml"
    file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        Thresholds.from_file(file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    """Guards against the shipped limits in place of the ones that a user believes to have set."""
    with pytest.raises(SettingsError, match=r"NBA_ML_THRESHOLDS is .*none\.toml, which cannot be read"):
        Thresholds.from_file(tmp_path / "none.toml")


def test_limits_are_not_changed_in_passing() -> None:
    """Guards against one check that moves the limit of another."""
    with pytest.raises(ValidationError, match="frozen"):
        Thresholds().max_validation_mae = 9.0  # type: ignore[misc]
