"""Feature rows of a date from BigQuery, for `slates.slate`."""

from datetime import date

import pyarrow as pa

from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.data.line_prices import PlayerDay, Prices, not_decimal, prices_by_player
from nba_ml.data.tables import PRICES
from nba_ml.slates.rows import NEAR, Upcoming, no_rows, require_no_games, with_tip_offs
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import LINE_COLUMNS, SLATE_COLUMNS, feature_parts, require_columns, standing_lines


class BigQuerySlateRows:
    """The rows of the platform's own `ml_feature_store_v2`."""

    def __init__(
        self,
        connection: BigQueryConnection,
        feature_table: str,
        versions: tuple[str, ...] = (V2_33FEATURES.name,),
        lines_table: str | None = None,
    ) -> None:
        self.connection = connection
        self.feature_table = feature_table
        self.versions = versions
        self.lines_table = lines_table

    def read(self, day: date, version: FeatureVersion = V2_33FEATURES) -> pa.Table:
        """The rows of a date, in `tables.SLATE_ROWS`, with the prices of their lines where a table has them.

        Raises:
            SlateError: a price is not in decimal odds.
            SourceDataError: BigQuery rejects the query or does not respond.
            SettingsError: there are no credentials, or the table's name is invalid.
        """
        parameters: dict[str, str | int | date] = {"day": day, "feature_names": ",".join(version.names)}
        table = quoted_table(self.feature_table, self.connection.project)
        parts = feature_parts(table, self.connection.columns(table), self.versions, SLATE_COLUMNS, version)
        sql = query("slate_rows", feature_table=table, **parts)
        rows = self.connection.rows(sql, parameters, "slate-rows")
        return with_tip_offs(rows, {}, self._prices(rows, day, version))

    def _prices(self, rows: pa.Table, day: date, version: FeatureVersion) -> dict[str, Prices]:
        """The prices of the rows' lines, by player id or, without one, by lookup; none if no table has any."""
        if self.lines_table is None:
            return {}
        table = quoted_table(self.lines_table, self.connection.project)
        found = self.connection.columns(table)
        if not any(name in found for name in PRICES):
            return {}
        require_columns(table, found, LINE_COLUMNS, "NBA_ML_LINES_TABLE")
        sql = query("priced_lines", lines=standing_lines(table, found))
        listed = self.connection.rows(sql, {"first": day, "last": day}, "slate-prices")
        return _prices_of(rows, listed, version.index("vegas_points_line"), day, table)

    def upcoming(self, day: date, games: str = "", version: FeatureVersion = V2_33FEATURES) -> Upcoming:
        """Raises SlateError: BigQuery's feature store has the rows of a date, or there are none."""
        require_no_games(games)
        near = self.days_near(day)
        if day in near and version != V2_33FEATURES:
            raise SlateError(
                f"{self.feature_table} has rows of {day}, and none of {version.name}, which a model of the channel "
                f"reads. Nothing was scored. Compute them with `nba-ml features --to-bigquery --version {version.name} "
                f"--date {day}`, then run the same command again."
            )
        raise no_rows(day, near)

    def days_near(self, day: date) -> list[date]:
        """The dates with rows within a month of a date."""
        sql = query("slate_days", feature_table=quoted_table(self.feature_table, self.connection.project))
        rows = self.connection.rows(sql, {"first": day - NEAR, "last": day + NEAR}, "slate-days")
        days: list[date] = rows.column("game_date").to_pylist()
        return days


def _prices_of(rows: pa.Table, listed: pa.Table, at: int, day: date, table: str) -> dict[str, Prices]:
    """The median price of each side over the books that list exactly a row's line, the value at `at` of its vector."""
    wrong = not_decimal(listed)
    if wrong is not None:
        raise SlateError(
            f"{table} has a price of {wrong:g} on {day}. Prices are decimal odds, what a bet of 1 returns: above 1 "
            "and below 100. Convert over_price and under_price, then run the same command again. Nothing was scored."
        )
    lines: dict[PlayerDay, float] = {}
    players: dict[str, str] = {}
    for player, lookup, vector in zip(
        *(rows.column(name).to_pylist() for name in ("universal_player_id", "player_lookup", "features")), strict=True
    ):
        key = player or lookup
        players |= {each: key for each in (player, lookup) if each}
        if len(vector) > at:
            lines[key, day] = vector[at]
    ids, lookups = (listed.column(name).to_pylist() for name in ("universal_player_id", "player_lookup"))
    whose = [players.get(player or "") or players.get(lookup) for player, lookup in zip(ids, lookups, strict=True)]
    return {player: both for (player, _), both in prices_by_player(whose, listed, lines).items()}
