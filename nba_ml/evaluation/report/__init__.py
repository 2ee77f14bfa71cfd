"""The walk-forward as one HTML page: no script, no outside resource, readable on a phone.

What belongs here: how the summary looks. What it says is computed in `walk_forward`.
"""
