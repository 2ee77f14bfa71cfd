"""Tests of nba_ml.core: plain functions over plain values."""
