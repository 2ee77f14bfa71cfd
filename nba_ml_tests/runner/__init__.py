"""The warm backfill of the terminal: what opening a home costs, and what is out of date."""
