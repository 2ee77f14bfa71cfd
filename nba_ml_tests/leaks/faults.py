"""The faults: small changes to stored rows, to the frozen months, or to the split, each with who catches it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.data.table_digest import table_digest
from nba_ml_tests.leaks.chain import MONTHS, Snapshots, Steps, Stored, StoredMonth

Floats = npt.NDArray[np.float64]
KEY = ["player_lookup", "game_date"]
SEED = 7

REFUSED = "take_snapshot"
HARMLESS = "canonical form"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and who catches it: the key of a check, `REFUSED` (the snapshot takes no such rows) or `HARMLESS`
    (the frozen rows are the clean ones). `refusal` is part of what the snapshot says. `system` is whose chain it is."""

    name: str
    steps: Steps
    caught_by: str
    refusal: str = ""
    system: System = XGBOOST_V1


# --- tools ----------------------------------------------------------------------------------------------------


def vectors_of(table: pa.Table) -> Floats:
    """The stored vectors (n, features), as a copy."""
    values = table.column("features").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64).reshape(table.num_rows, -1)


def with_vectors(table: pa.Table, vectors: Floats) -> pa.Table:
    offsets = pa.array(np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32))
    column = pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), from_pandas=False))
    return table.set_column(table.column_names.index("features"), table.schema.field("features"), column)


def _results(stored: Stored) -> pd.DataFrame:
    """Everybody who played, by player and date."""
    tables = [rows.summary.select([*KEY, "points", "minutes_played"]) for rows in stored.values()]
    frame = pa.concat_tables(tables).to_pandas(date_as_object=False)
    return frame[frame["minutes_played"] > 0].sort_values(KEY, ignore_index=True)


def _aligned(values: pd.Series, results: pd.DataFrame, table: pa.Table) -> Floats:
    """Values of the results (one each) in the order of a month's rows; NaN for rows without a result."""
    keyed = results[KEY].assign(value=values.to_numpy(dtype=np.float64))
    keys = table.select(KEY).to_pandas(date_as_object=False)
    return keys.merge(keyed, on=KEY, how="left")["value"].to_numpy(dtype=np.float64)


def _feature(name: str, values: Callable[[pd.DataFrame], pd.Series]) -> Steps:
    """A feature written as something else, computed from the season's results."""

    def plant(stored: Stored) -> Stored:
        results = _results(stored)
        written = values(results)

        def change(vectors: Floats, table: pa.Table) -> None:
            new = _aligned(written, results, table)
            column = V2_33FEATURES.index(name)
            vectors[:, column] = np.where(np.isnan(new), vectors[:, column], np.round(new, 6))

        return _changed(stored, change)

    return Steps(rows=plant)


def _changed(stored: Stored, change: Callable[[Floats, pa.Table], None]) -> Stored:
    """Every month's vectors after `change`, which works in place."""
    out = {}
    for month, rows in stored.items():
        vectors = vectors_of(rows.features)
        change(vectors, rows.features)
        out[month] = StoredMonth(with_vectors(rows.features, vectors), rows.summary)
    return out


def _every_vector(change: Callable[[Floats, pa.Table], None]) -> Steps:
    return Steps(rows=lambda stored: _changed(stored, change))


def _every_snapshot(change: Callable[[pa.Table], pa.Table]) -> Steps:
    """Every frozen month rewritten, with a digest that names the new rows: a job that edits what is stored."""

    def plant(snapshots: Snapshots) -> Snapshots:
        return {month: _rewritten(each, change(each.table)) for month, each in snapshots.items()}

    return Steps(snapshots=plant)


def _rewritten(snapshot: Snapshot, table: pa.Table) -> Snapshot:
    return replace(snapshot, table=table, digest=table_digest(table))


def _set(table: pa.Table, name: str, values: Floats) -> pa.Table:
    return table.set_column(
        table.column_names.index(name), table.schema.field(name), pa.array(values, from_pandas=False)
    )


def _some(n: int, share: float) -> npt.NDArray[np.int64]:
    """Positions of a seeded share of n rows."""
    return np.sort(np.random.default_rng(SEED).choice(n, size=int(n * share), replace=False))


# --- windows that know too much -------------------------------------------------------------------------------


def _last_5_with_the_game(results: pd.DataFrame) -> pd.Series:
    return results.groupby("player_lookup")["points"].transform(lambda points: points.rolling(5, min_periods=1).mean())


def _average_to_the_seasons_end(results: pd.DataFrame) -> pd.Series:
    return results.groupby("player_lookup")["points"].transform("mean")


def _line_after_tip_off(stored: Stored) -> Stored:
    """Everybody has a line, listed at half-time: what he has scored so far, and half of his average."""
    results = _results(stored)
    by_half_time = np.random.default_rng(SEED).binomial(results["points"].to_numpy(dtype=np.int64), 0.5)

    def change(vectors: Floats, table: pa.Table) -> None:
        season = vectors[:, V2_33FEATURES.index("points_avg_season")]
        scored = _aligned(pd.Series(by_half_time), results, table)
        line = np.round(scored + season / 2) + 0.5
        vectors[:, V2_33FEATURES.index("vegas_points_line")] = line
        vectors[:, V2_33FEATURES.index("has_vegas_line")] = (~np.isnan(line)).astype(float)

    return _changed(stored, change)


def _target_of_the_next_game(stored: Stored) -> Stored:
    """The summary that the targets come from has slipped by one game of each player."""
    results = _results(stored)
    slipped = results.groupby("player_lookup")["points"].shift(-1).fillna(results["points"])
    out = {}
    for month, rows in stored.items():
        points = np.nan_to_num(_aligned(slipped, results, rows.summary)).astype(np.int16)
        position = rows.summary.column_names.index("points")
        out[month] = StoredMonth(
            rows.features, rows.summary.set_column(position, rows.summary.schema.field("points"), pa.array(points))
        )
    return out


# --- rows that are no samples ---------------------------------------------------------------------------------


def _written_twice(stored: Stored) -> Stored:
    return {
        month: StoredMonth(
            pa.concat_tables([rows.features, rows.features.take(_some(rows.features.num_rows, 0.05))]), rows.summary
        )
        for month, rows in stored.items()
    }


def _a_day_later(table: pa.Table, taken: pa.Table) -> pa.Table:
    """A seeded twentieth of the rows, a day later, as far as nobody of that key played then."""
    some = table.take(_some(table.num_rows, 0.05))
    keys = some.select(KEY).to_pandas(date_as_object=False)
    keys["game_date"] += timedelta(days=1)
    month = table.column("game_date")[0].as_py().month if table.num_rows else 0
    there = keys.merge(taken.select(KEY).to_pandas(date_as_object=False), on=KEY, how="left", indicator=True)
    free = ((there["_merge"] == "left_only") & (there["game_date"].dt.month == month)).to_numpy()
    moved = some.set_column(
        some.column_names.index("game_date"),
        some.schema.field("game_date"),
        pa.array(keys["game_date"].dt.date.tolist(), pa.date32()),
    )
    return moved.filter(pa.array(free))


def _bench_in_the_store(stored: Stored) -> Stored:
    """Rows of players who did not play: features as on their last game, 0 points in 0 minutes."""
    out = {}
    for month, rows in stored.items():
        features = _a_day_later(rows.features, rows.features)
        summary = _a_day_later(rows.summary, rows.summary)
        for name in ("points", "minutes_played"):
            zeros = pa.array(np.zeros(summary.num_rows, np.int16))
            summary = summary.set_column(summary.column_names.index(name), summary.schema.field(name), zeros)
        out[month] = StoredMonth(pa.concat_tables([rows.features, features]), pa.concat_tables([rows.summary, summary]))
    return out


def _bench_in_the_snapshot(table: pa.Table) -> pa.Table:
    bench = _a_day_later(table, table)
    for name in ("points", "minutes_played"):
        bench = _set(bench, name, np.zeros(bench.num_rows))
    return pa.concat_tables([table, bench]).sort_by([("game_date", "ascending"), ("player_lookup", "ascending")])


# --- values that are not what their column says ---------------------------------------------------------------


def _one_win_pct(vectors: Floats, table: pa.Table) -> None:
    vectors[:, V2_33FEATURES.index("team_win_pct")] = 0.5 * np.ones(table.num_rows)


def _two_names_swapped(stored: Stored) -> Stored:
    """The writer's list of names has two in the wrong order, and its values follow."""
    names = list(V2_33FEATURES.names)
    names[0], names[1] = names[1], names[0]
    out = {}
    for month, rows in stored.items():
        position = rows.features.column_names.index("feature_names")
        column = pa.array([names] * rows.features.num_rows, rows.features.schema.field("feature_names").type)
        out[month] = StoredMonth(
            rows.features.set_column(position, rows.features.schema.field("feature_names"), column), rows.summary
        )
    return out


def _two_values_swapped(vectors: Floats, _table: pa.Table) -> None:
    """The names are right, the values behind two of them are not."""
    pair = [V2_33FEATURES.index(name) for name in ("points_avg_last_10", "minutes_avg_last_10")]
    vectors[:, pair] = vectors[:, pair[::-1]]


def _two_columns_swapped(table: pa.Table) -> pa.Table:
    names = table.column_names
    i, j = names.index("points_avg_last_5"), names.index("points_std_last_10")
    names[i], names[j] = names[j], names[i]
    return table.select(names)


def _percent(vectors: Floats, _table: pa.Table) -> None:
    vectors[:, V2_33FEATURES.index("pct_three")] *= 100


def _placeholder_lines(vectors: Floats, _table: pa.Table) -> None:
    """As older stores wrote them where no book had a line."""
    flag = V2_33FEATURES.index("has_vegas_line")
    none = vectors[:, flag] == 0
    for name, value in {"vegas_points_line": 20.0, "vegas_opening_line": 20.0, "vegas_line_move": 0.0}.items():
        vectors[none, V2_33FEATURES.index(name)] = value
    vectors[none, flag] = 1.0


def _placeholder_lines_in_the_snapshot(table: pa.Table) -> pa.Table:
    none = np.isnan(table["vegas_points_line"].to_numpy())
    table = _set(table, "vegas_points_line", np.where(none, 20.0, table["vegas_points_line"].to_numpy()))
    return _set(table, "has_vegas_line", np.ones(table.num_rows))


def _medians(columns: Sequence[Floats]) -> list[float]:
    return [float(np.median(each[~np.isnan(each)])) if (~np.isnan(each)).any() else np.nan for each in columns]


def _imputed(stored: Stored) -> Stored:
    """What is missing filled with the median of all rows, those of later months among them."""
    every = np.concatenate([vectors_of(rows.features) for rows in stored.values()])
    medians = np.array(_medians(list(every.T)))

    def change(vectors: Floats, _table: pa.Table) -> None:
        np.copyto(vectors, np.where(np.isnan(vectors), medians, vectors))

    return _changed(stored, change)


def _imputed_snapshots(snapshots: Snapshots) -> Snapshots:
    medians = dict(
        zip(
            V2_33FEATURES.names,
            _medians(
                [
                    np.concatenate([each.table[name].to_numpy() for each in snapshots.values()])
                    for name in V2_33FEATURES.names
                ]
            ),
            strict=True,
        )
    )

    def filled(table: pa.Table) -> pa.Table:
        for name, median in medians.items():
            values = table[name].to_numpy()
            table = _set(table, name, np.where(np.isnan(values), median, values))
        return table

    return {month: _rewritten(each, filled(each.table)) for month, each in snapshots.items()}


# --- splits ---------------------------------------------------------------------------------------------------


def _one_date_on_two_sides(split: SplitManifest) -> SplitManifest:
    assert split.train is not None
    assert split.early_stopping is not None
    return split.model_copy(update={"train": split.train.model_copy(update={"last": split.early_stopping.first})})


def _validation_in_training(split: SplitManifest) -> SplitManifest:
    assert split.train is not None
    assert split.validation is not None
    return split.model_copy(update={"train": split.train.model_copy(update={"last": split.validation.last})})


SNAPSHOT, SPLIT = "feature_store_snapshot", "train_split"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "last-5 average that includes the game",
        _feature("points_avg_last_5", _last_5_with_the_game),
        f"{SNAPSHOT}.last_5_recomputes",
    ),
    Fault(
        "season average to the season's end",
        _feature("points_avg_season", _average_to_the_seasons_end),
        f"{SNAPSHOT}.season_average_recomputes",
    ),
    Fault("line taken after tip-off", Steps(rows=_line_after_tip_off), f"{SNAPSHOT}.line_error"),
    Fault("target of the next game", Steps(rows=_target_of_the_next_game), f"{SNAPSHOT}.last_5_recomputes"),
    Fault(
        "one date on two sides of the split", Steps(split=_one_date_on_two_sides), f"{SPLIT}.dates_disjoint_and_ordered"
    ),
    Fault("validation rows in training", Steps(split=_validation_in_training), f"{SPLIT}.dates_disjoint_and_ordered"),
    Fault("5% of the rows written twice", Steps(rows=_written_twice), REFUSED, "duplicate key"),
    Fault("players who did not play, as zeros", Steps(rows=_bench_in_the_store), HARMLESS),
    Fault(
        "players who did not play, in the snapshot",
        _every_snapshot(_bench_in_the_snapshot),
        "xgboost_model.validation_mae",
    ),
    Fault("team_win_pct the same for all", _every_vector(_one_win_pct), f"{SNAPSHOT}.no_constant_column"),
    Fault("two features swapped, names too", Steps(rows=_two_names_swapped), REFUSED, "feature names differ"),
    Fault(
        "two features swapped under right names", _every_vector(_two_values_swapped), f"{SNAPSHOT}.last_10_recomputes"
    ),
    Fault("two columns of the snapshot swapped", _every_snapshot(_two_columns_swapped), f"{SNAPSHOT}.contract"),
    Fault("share as percent", _every_vector(_percent), REFUSED, "pct_three outside 0 to 1"),
    Fault("placeholder lines of 20.0", _every_vector(_placeholder_lines), HARMLESS),
    Fault(
        "placeholder lines in the snapshot",
        _every_snapshot(_placeholder_lines_in_the_snapshot),
        f"{SNAPSHOT}.line_error",
    ),
    Fault(
        "a month silently missing",
        Steps(window=lambda months: [month for month in months if month != MONTHS[3]]),
        f"{SPLIT}.window_without_holes",
    ),
    Fault("missing values as medians of all rows", Steps(rows=_imputed), f"{SNAPSHOT}.season_average_recomputes"),
    Fault(
        "missing values as medians, in the snapshot",
        Steps(snapshots=_imputed_snapshots),
        f"{SNAPSHOT}.last_5_recomputes",
    ),
)
"""From what cost most in production to what is merely wrong. Some that the snapshot itself refuses or corrects are
planted a second time in the stored snapshots, where the publisher would also refuse the model: their digest is not the
one that was materialised."""
