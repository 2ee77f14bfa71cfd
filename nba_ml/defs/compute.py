"""How much of the machine to use."""

import dagster as dg


class Compute(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Threads for DuckDB and XGBoost; None is all cores. Changes the speed, never the bytes."""

    threads: int | None = None
