"""The web UI: Dagster's own, behind a guard against other web sites.

What belongs here: starting Dagster's servers, and refusing what another site sends. `guard` imports no Dagster.
"""
