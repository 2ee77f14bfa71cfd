"""No leaked game: features equal a reference that sees earlier games only, and later games change nothing."""

from __future__ import annotations

import random
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nba_ml.contract.features import NOT_IN_BOX_SCORES, V2_33FEATURES, V3_FEATURES, V4_FEATURES
from nba_ml.data import tables
from nba_ml.data.features import compute, compute_features, inactive_lists
from nba_ml_tests.data.features.conftest import COMPUTED_AT, between, every_day_listed, matrix, same_rows
from nba_ml_tests.data.features.reference import BoxScore, Games
from nba_ml_tests.profiles import examples

pytestmark = pytest.mark.slow

TOLERANCE = 1e-6
"""Half a unit of the sixth decimal is rounding; nothing else may differ."""

LEAK_MONTH = (date(2024, 12, 1), date(2024, 12, 31))
SLICE = (date(2024, 11, 12), date(2024, 12, 3))

Vectors = npt.NDArray[np.float64]


def keys_of(features: pa.Table) -> list[tuple[str, date]]:
    """(player_lookup, game_date) of every row."""
    return list(zip(features["player_lookup"].to_pylist(), features["game_date"].to_pylist(), strict=True))


def differing(vectors: Vectors, expected: Vectors) -> dict[str, int]:
    """How many rows differ from the reference, by feature; a NaN equals only a NaN."""
    unequal = ~np.isclose(vectors, expected, rtol=0, atol=TOLERANCE, equal_nan=True)
    names = V4_FEATURES.names[: vectors.shape[1]]
    return {name: int(count) for name, count in zip(names, unequal.sum(axis=0), strict=True) if count > 0}


def sampled_rows(games: Games) -> list[BoxScore]:
    """400 rows: 300 of all seasons at random, and 20 of each kind that windows go wrong on."""
    by_team: dict[tuple[str, str], set[str]] = {}
    opening: dict[str, date] = {}
    long_game: set[tuple[str, date]] = set()
    minutes: dict[tuple[str, date], int] = {}
    for row in games.rows:
        by_team.setdefault((row.player_lookup, row.season), set()).add(row.team_abbr)
        opening.setdefault(row.season, row.game_date)
        team_day = (row.team_abbr, row.game_date)
        minutes[team_day] = minutes.get(team_day, 0) + row.minutes_played
        if minutes[team_day] > 255:
            long_game.add(team_day)
    listed_days = set(range(date(2024, 10, 22).toordinal(), date(2025, 1, 13).toordinal()))
    kinds = {
        "playoffs": [row for row in games.rows if row.playoffs],
        "opening week": [row for row in games.rows if (row.game_date - opening[row.season]).days < 7],
        "traded": [row for row in games.rows if len(by_team[row.player_lookup, row.season]) > 1],
        "0 minutes": [row for row in games.rows if row.minutes_played == 0],
        "after overtime": [
            row
            for row in games.rows
            if any((row.team_abbr, row.game_date - timedelta(days=days)) in long_game for days in (1, 2))
        ],
    }
    listed = [row for row in games.rows if row.game_date.toordinal() in listed_days]
    chosen = random.Random(20251101)
    rows = chosen.sample(games.rows, 280) + chosen.sample(listed, 20)
    for kind, members in kinds.items():
        assert len(members) >= 20, f"the data has only {len(members)} rows of kind '{kind}'"
        rows += chosen.sample(members, 20)
    return rows


def test_features_equal_the_reference(all_career_features: pa.Table, games: Games) -> None:
    """Guards every definition and window: a feature that is off in any kind of row differs from the slow reference."""
    rows = sampled_rows(games)
    position = {key: at for at, key in enumerate(keys_of(all_career_features))}
    expected = np.array([games.reference(row.player_lookup, row.game_date, V4_FEATURES) for row in rows])
    vectors = matrix(all_career_features)[[position[row.player_lookup, row.game_date] for row in rows]]

    assert len(rows) == 400
    assert differing(vectors, expected) == {}
    # The sample must hold both kinds of row for each feature that can be missing, or it proves little.
    filled = ~np.isnan(expected)
    assert filled.any(axis=0).sum() == V4_FEATURES.count - len(NOT_IN_BOX_SCORES)
    assert (~filled).any(axis=0).sum() == sum(feature.nullable for feature in V4_FEATURES.features)


def test_the_first_version_is_the_second_without_careers(all_features: pa.Table, all_career_features: pa.Table) -> None:
    """Guards the first version's bytes, and that the reference above has checked them as well."""
    both = matrix(all_career_features)[:, : V2_33FEATURES.count]
    assert V4_FEATURES.names[: V2_33FEATURES.count] == V2_33FEATURES.names
    assert np.ascontiguousarray(both).tobytes() == matrix(all_features).tobytes()
    assert not any(all_career_features["early_season_flag"].to_pylist())


def test_the_second_version_is_the_third_without_reports(
    summary: pa.Table, lines: pa.Table, clean_month: pa.Table
) -> None:
    """Guards the second version's bytes, although the third runs more of the SQL."""
    month = compute_features(summary, lines, *LEAK_MONTH, computed_at=COMPUTED_AT, version=V3_FEATURES)
    both = np.ascontiguousarray(matrix(clean_month)[:, : V3_FEATURES.count])
    assert V4_FEATURES.names[: V3_FEATURES.count] == V3_FEATURES.names
    assert both.tobytes() == matrix(month).tobytes()


def test_days_rest_equals_the_reference(all_features: pa.Table, games: Games) -> None:
    """Guards the days_rest column, which stands outside the vector: the player's own, NULL before his first game."""
    rest = dict(zip(keys_of(all_features), all_features["days_rest"].to_pylist(), strict=True))
    for row in sampled_rows(games):
        _, past = games.before(row.player_lookup, row.game_date)
        played = [game for game in past.player_games if game.minutes_played > 0 and game.season == row.season]
        expected = (row.game_date - played[-1].game_date).days - 1 if played else None
        assert rest[row.player_lookup, row.game_date] == expected


# Later games change nothing


@pytest.fixture(scope="module")
def season_slice(summary: pa.Table) -> pa.Table:
    """A season up to the end of a few weeks, and the weeks before its summer: small, so that every example is fast."""
    return pa.concat_tables(
        [between(summary, date(2024, 4, 1), date(2024, 6, 30)), between(summary, date(2024, 10, 1), SLICE[1])]
    )


@pytest.fixture(scope="module")
def slice_features(season_slice: pa.Table, lines: pa.Table) -> pa.Table:
    """The features of those weeks, of untouched games."""
    return _slice_features(season_slice, lines)


def _slice_features(games: pa.Table, lines: pa.Table) -> pa.Table:
    """With who appears as the stand-in for reports, which is made from the same games."""
    reports = inactive_lists(games, every_day_listed(*SLICE), *SLICE)
    return compute_features(games, lines, *SLICE, computed_at=COMPUTED_AT, version=V4_FEATURES, reports=reports)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    day=st.dates(SLICE[0], SLICE[1] - timedelta(days=1)),
    seed=st.integers(0, 2**32 - 1),
    rewritten=st.sampled_from([0.0, 0.02, 1.0]),
    dropped_games=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_games_on_or_after_a_date_change_nothing_up_to_it(
    season_slice: pa.Table,
    lines: pa.Table,
    slice_features: pa.Table,
    day: date,
    seed: int,
    rewritten: float,
    dropped_games: float,
) -> None:
    """Guards against any window that reaches its own date or beyond, whatever the later games are."""
    generator = np.random.default_rng(seed)
    days = season_slice["game_date"].to_numpy()
    on_or_after = days >= np.datetime64(day)
    altered = _rewrite(season_slice, on_or_after & (generator.random(len(days)) < rewritten), generator)
    # Whole games go (one side alone would be refused); those of the day itself only sometimes, and never all.
    ids = season_slice["game_id"].to_numpy(zero_copy_only=False)
    candidates = np.unique(ids[days > np.datetime64(day)])
    gone = set(candidates[generator.random(len(candidates)) < dropped_games])
    gone.update(np.unique(ids[days == np.datetime64(day)])[1:2])
    altered = altered.filter(pa.array([game not in gone for game in ids]))
    tomorrow = pa.repeat(day + timedelta(days=1), season_slice.num_rows).cast(pa.date32())
    later_lines = pa.table(
        [
            *(season_slice[name] for name in ("universal_player_id", "player_lookup")),
            tomorrow,
            pa.repeat("underdog", len(tomorrow)),
            pa.repeat(99.5, len(tomorrow)),
        ],
        schema=tables.PROP_LINES,
    )

    after = _slice_features(altered, pa.concat_tables([lines, later_lines]))

    kept = pa.array([game not in gone for game in slice_features["game_id"].to_pylist()])
    assert same_rows(between(after, SLICE[0], day), between(slice_features.filter(kept), SLICE[0], day))
    out = matrix(slice_features)[:, V4_FEATURES.index("out_points")]
    assert 0.2 < (out > 0).mean() < 0.99


def _rewrite(summary: pa.Table, chosen: npt.NDArray[np.bool_], generator: np.random.Generator) -> pa.Table:
    """Other numbers in every box score column of the chosen rows; the games themselves stay as they are."""
    for name in summary.column_names:
        if summary.schema.field(name).type != pa.int16():
            continue
        column = summary[name].to_numpy().copy()
        column[chosen] = generator.integers(0, 60, chosen.sum())
        summary = summary.set_column(
            summary.schema.get_field_index(name), summary.schema.field(name), pa.array(column, pa.int16())
        )
    # Who won is a result as well: where anything was rewritten, the sides change places.
    if not chosen.any():
        return summary
    days = summary["game_date"].to_numpy()
    flipped = days >= days[chosen].min()
    won = summary["team_won"].to_numpy(zero_copy_only=False) ^ flipped
    return summary.set_column(
        summary.schema.get_field_index("team_won"), summary.schema.field("team_won"), pa.array(won, pa.bool_())
    )


# A leaky variant is told apart

LEAKS = {
    "form": ("select_target_rows", "earlier.game_date < game.game_date", "earlier.game_date <= game.game_date"),
    "workload": ("measure_workload", "AND INTERVAL 1 DAY PRECEDING)", "AND CURRENT ROW)"),
    "team": ("rate_teams", "AND 1 PRECEDING)", "AND CURRENT ROW)"),
    "opponent": ("rate_opponents", "AND 1 PRECEDING)", "AND CURRENT ROW)"),
    "league": ("rate_league", "AND 1 PRECEDING)", "AND CURRENT ROW)"),
    "versus": ("average_versus_opponent", "earlier.game_date < target", "earlier.game_date <= target"),
    "career": ("expect_players", "latest.number = asked.games_before", "latest.number = asked.games_before + 1"),
    "absences": ("find_absences", "played.next_date >= fixture", "played.next_date > fixture"),
    "missed games": ("assemble_careers", "game.game_date < target", "game.game_date <= target"),
}
"""By part: the SQL file, the words that keep a game out of its own features, and the words that let it in."""

TOUCHED = {
    "form": {"points_avg_last_5", "points_avg_last_10", "points_avg_season", "pct_three", "usage_spike_score"},
    "workload": {"games_in_last_7_days", "minutes_avg_last_10", "ppm_avg_last_10"},
    "team": {"team_pace", "team_off_rating", "team_win_pct"},
    "opponent": {"opponent_def_rating", "opponent_pace", "shot_zone_mismatch_score"},
    "league": {"shot_zone_mismatch_score"},
    "versus": {"avg_points_vs_opponent", "games_vs_opponent"},
    "career": {"points_ewm_12", "plays_ewm_3", "minutes_ewm_1", "minutes_share_ewm_3", "days_since_last_game"},
    "absences": {"absent_points", "absent_plays"},  # who is back tonight is not known before
    "missed games": {"team_games_missed"},
}


def _leak(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Makes one part of the SQL include the game it describes."""
    step, strict, lenient = LEAKS[part]
    original = compute.step_text

    def leaky(asked: str) -> str:
        text = original(asked)
        if asked != step:
            return text
        assert strict in text, f"{step}.sql no longer holds '{strict}': this test has lost its object"
        return text.replace(strict, lenient)

    monkeypatch.setattr(compute, "step_text", leaky)


@pytest.fixture(scope="module")
def leak_sample(all_features: pa.Table, games: Games) -> tuple[list[int], Vectors]:
    """Positions of 60 rows of the month in its table, and the reference's vectors of them."""
    keys = keys_of(between(all_features, *LEAK_MONTH))
    positions = sorted(random.Random(7).sample(range(len(keys)), 60))
    return positions, np.array([games.reference(*keys[at], V4_FEATURES) for at in positions])


@pytest.fixture(scope="module")
def clean_month(summary: pa.Table, lines: pa.Table) -> pa.Table:
    """The features of the month, of untouched SQL."""
    return compute_features(summary, lines, *LEAK_MONTH, computed_at=COMPUTED_AT, version=V4_FEATURES)


@pytest.mark.parametrize("part", LEAKS)
def test_a_leak_in_any_part_differs_from_the_reference(
    part: str,
    summary: pa.Table,
    lines: pa.Table,
    clean_month: pa.Table,
    leak_sample: tuple[list[int], Vectors],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards the comparison itself: if it let a leaky window pass, it would prove nothing."""
    positions, expected = leak_sample
    assert differing(matrix(clean_month)[positions], expected) == {}

    _leak(monkeypatch, part)
    leaky = compute_features(summary, lines, *LEAK_MONTH, computed_at=COMPUTED_AT, version=V4_FEATURES)

    assert set(differing(matrix(leaky)[positions], expected)) >= TOUCHED[part]


def test_a_leak_correlates_with_the_target_as_clean_features_do_not(
    summary: pa.Table, lines: pa.Table, clean_month: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the symptom that a user would see: the last five 'predict' the game because they contain it."""
    points = np.asarray(between(summary, *LEAK_MONTH)["points"].to_numpy(), dtype=np.float64)
    last_5 = V2_33FEATURES.index("points_avg_last_5")

    def correlation(features: pa.Table) -> float:
        form = matrix(features)[:, last_5]
        there = ~np.isnan(form)
        return float(np.corrcoef(form[there], points[there])[0, 1])

    clean = correlation(clean_month)
    _leak(monkeypatch, "form")
    leaky = correlation(compute_features(summary, lines, *LEAK_MONTH, computed_at=COMPUTED_AT))

    assert 0.5 < clean < 0.75
    assert leaky > clean + 0.1


# The same rows whatever range they are asked for in


@pytest.mark.parametrize(
    "month", ["2021-10", "2022-02", "2022-06", "2022-10", "2023-01", "2024-10", "2025-01", "2025-06"]
)
def test_a_month_alone_equals_the_month_out_of_all(
    month: str, summary: pa.Table, lines: pa.Table, listed: pa.Table, all_career_features: pa.Table
) -> None:
    """Guards the filters of the one-month path: a backfill month by month must give what one call gives."""
    first = date.fromisoformat(f"{month}-01")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    known = summary.filter(pc.less_equal(summary["game_date"], last))

    reports = inactive_lists(known, listed, first, last)
    alone = compute_features(known, lines, first, last, computed_at=COMPUTED_AT, version=V4_FEATURES, reports=reports)

    assert alone.num_rows > 0
    assert same_rows(alone, between(all_career_features, first, last))
