"""Dagster's web UI as a user sees it: real servers, a real browser."""
