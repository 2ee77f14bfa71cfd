"""Fit and measure: training, calibration, baselines, challengers, and the record that travels with a booster."""
