"""Backfills from the terminal: month by month, in one warm process, running only what is out of date."""
