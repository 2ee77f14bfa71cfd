"""Feature rows of a date from BigQuery, for `slates.slate`."""

from datetime import date

import pyarrow as pa

from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.slates.rows import NEAR, Upcoming, no_rows, require_no_games, with_tip_offs
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import SLATE_COLUMNS, feature_parts


class BigQuerySlateRows:
    """The rows of the platform's own `ml_feature_store_v2`."""

    def __init__(
        self, connection: BigQueryConnection, feature_table: str, versions: tuple[str, ...] = (V2_33FEATURES.name,)
    ) -> None:
        self.connection = connection
        self.feature_table = feature_table
        self.versions = versions

    def read(self, day: date, version: FeatureVersion = V2_33FEATURES) -> pa.Table:
        """The rows of a date, in `tables.SLATE_ROWS`.

        Raises:
            SlateError: the table does not have this version.
            SourceDataError: BigQuery rejects the query or does not respond.
            SettingsError: there are no credentials, or the table's name is invalid.
        """
        if version != V2_33FEATURES:
            raise SlateError(
                f"{self.feature_table} has the features of {V2_33FEATURES.name}, and a model of the channel reads "
                f"those of {version.name}. Nothing was scored. Serve a model of xgboost_v1 here: `nba-ml champion "
                "rollback`."
            )
        parameters: dict[str, str | int | date] = {"day": day, "feature_names": ",".join(V2_33FEATURES.names)}
        table = quoted_table(self.feature_table, self.connection.project)
        parts = feature_parts(table, self.connection.columns(table), self.versions, SLATE_COLUMNS)
        sql = query("slate_rows", feature_table=table, **parts)
        return with_tip_offs(self.connection.rows(sql, parameters, "slate-rows"), {})

    def upcoming(self, day: date, games: str = "", version: FeatureVersion = V2_33FEATURES) -> Upcoming:  # noqa: ARG002
        """Raises SlateError: BigQuery's feature store has the rows of a date, or there are none."""
        require_no_games(games)
        raise no_rows(day, self.days_near(day))

    def days_near(self, day: date) -> list[date]:
        """The dates with rows within a month of a date."""
        sql = query("slate_days", feature_table=quoted_table(self.feature_table, self.connection.project))
        rows = self.connection.rows(sql, {"first": day - NEAR, "last": day + NEAR}, "slate-days")
        days: list[date] = rows.column("game_date").to_pylist()
        return days
