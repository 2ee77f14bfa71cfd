"""Sensors: one that follows the feature backfill, one that notifies people of failures."""
