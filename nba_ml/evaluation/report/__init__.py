"""The walk-forward report as one HTML page: no scripts, no external resources, readable on a phone.

This package only formats the summary. `evaluation.walk_forward` computes it.
"""
