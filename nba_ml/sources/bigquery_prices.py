"""The prices of a month's lines from BigQuery's table of lines, for its predictions and grades."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.season import month_bounds
from nba_ml.data.line_prices import not_decimal, prices_by_player, prices_table
from nba_ml.data.tables import PRICES
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import LINE_COLUMNS, require_columns, standing_lines

_LAST = date(2100, 1, 1)


@dataclass(frozen=True)
class BigQueryMonthPrices:
    """Prices of the lines in `lines_table`; the ids in them are those of `feature_table`."""

    connection: BigQueryConnection
    lines_table: str
    feature_table: str
    first_month: str

    def read(self, month: str, predictions: pa.Table) -> tuple[pa.Table | None, Mapping[str, str]]:
        """As `MonthPrices.read`, by one query: the median price of each side over the books that list exactly the line.

        Raises:
            SourceDataError: a column is missing or has another type, a price is not in decimal odds, or BigQuery
                rejects the query.
            SettingsError: there are no credentials, or a table's name is invalid.
        """
        if not self._has_prices:
            return None, {}
        first, last = month_bounds(month)
        features = quoted_table(self.feature_table, self.connection.project)
        sql = query("month_prices", **self._places, feature_table=features)
        listed = self.connection.rows(sql, {"first": first, "last": last}, "month-prices")
        if not listed.num_rows:
            return None, {}
        wrong = not_decimal(listed)
        if wrong is not None:
            raise SourceDataError(
                f"{month}: {self.lines_table} has a price of {wrong:g}. Prices are decimal odds, what a bet of 1 "
                "returns: above 1 and below 100. Convert over_price and under_price, then materialise "
                "predictions and prediction_grades again. Nothing was written."
            )
        key = ("player_lookup", "game_date", "current_points_line")
        rows = zip(*(predictions.column(name).to_pylist() for name in key), strict=True)
        chosen = {(player, day): line for player, day, line in rows}
        found = prices_by_player(listed.column("player_lookup").to_pylist(), listed, chosen)
        sums = (pc.sum(listed.column(half)).as_py() for half in ("high", "low"))
        return prices_table(found), _version(listed.num_rows, *sums)

    def version(self, month: str) -> Mapping[str, str]:
        """As `MonthPrices.version`, by one query for all months, which is asked once."""
        return self._versions.get(month, {})

    @cached_property
    def _versions(self) -> dict[str, Mapping[str, str]]:
        if not self._has_prices:
            return {}
        days: dict[str, str | int | date] = {"first": month_bounds(self.first_month)[0], "last": _LAST}
        rows = self.connection.rows(query("observe_prices", **self._places), days, "observe-prices").to_pylist()
        return {row["month"]: _version(row["listed"], row["high"], row["low"]) for row in rows}

    @property
    def _has_prices(self) -> bool:
        """Whether the table has a column of prices. Without one its lines are for features alone."""
        return any(name in self._found for name in PRICES)

    @property
    def _found(self) -> Mapping[str, str]:
        return self.connection.columns(quoted_table(self.lines_table, self.connection.project))

    @property
    def _places(self) -> dict[str, str]:
        table, found = quoted_table(self.lines_table, self.connection.project), self._found
        require_columns(table, found, LINE_COLUMNS, "NBA_ML_LINES_TABLE")
        return {"lines": standing_lines(table, found)}


def _version(rows: int, high: int, low: int) -> Mapping[str, str]:
    return {"prices": f"{rows}-{high:x}-{low:x}"}
