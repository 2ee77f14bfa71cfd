"""Definitions that every package shares, and no computation.

Feature versions, the season calendar, the assets' names, the checks' limits, model ids, digests, errors. Imports the
standard library and Pydantic only.
"""
