"""The predictor as an HTTP service."""
