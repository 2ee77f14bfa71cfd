"""The web UI: Dagster's own, behind a guard against other web sites.

What belongs here: starting Dagster's servers, refusing what another site sends, and our own pages beside Dagster's.
`guard` and `pages` import no Dagster.
"""
