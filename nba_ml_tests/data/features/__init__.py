"""Tests of the feature backfill, against a slow reference and real games."""
