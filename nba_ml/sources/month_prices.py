"""The prices of a month's lines, for its predictions and grades: the interface, and the embedded source's.

`sources.bigquery_prices` reads BigQuery's table of lines instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from nba_ml.contract.season import month_bounds
from nba_ml.data.line_prices import prices_of_month
from nba_ml.data.stored import SUMMARY
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects


class MonthPrices(Protocol):
    """Prices of the lines that predictions were made against."""

    def read(self, month: str, predictions: pa.Table) -> tuple[pa.Table | None, Mapping[str, str]]:
        """The prices of the predictions' lines, by player_lookup and game_date, and their version.

        Args:
            predictions: rows of the month with player_lookup, game_date and current_points_line.

        Returns:
            None and nothing where no line of the month has a price.

        Raises:
            NbaMlError: the lines cannot be read.
        """
        ...

    def version(self, month: str) -> Mapping[str, str]:
        """What `read` would give as their version now. Raises as `read`."""
        ...


class NoMonthPrices:
    """No prices: there is no table of lines."""

    def read(self, month: str, predictions: pa.Table) -> tuple[pa.Table | None, Mapping[str, str]]:  # noqa: ARG002 (the interface)
        return None, {}

    def version(self, month: str) -> Mapping[str, str]:  # noqa: ARG002 (likewise)
        return {}


@dataclass(frozen=True)
class EmbeddedMonthPrices:
    """The prices in the files of lines, whose players are found in the stored box scores under `root`."""

    source: EmbeddedFeatureSource
    root: str

    def read(self, month: str, predictions: pa.Table) -> tuple[pa.Table | None, Mapping[str, str]]:
        version = self.version(month)
        box_scores = MonthStore(open_objects(self.root)).load(SUMMARY, month) if version else None
        if box_scores is None:
            return None, {}
        lines = self.source.priced_lines(month)
        return prices_of_month(predictions, lines, box_scores.table, month_bounds(month)), version

    def version(self, month: str) -> Mapping[str, str]:
        return self.source.prices_fingerprint(month)
