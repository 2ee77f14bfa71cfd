"""Published models: publishing and reading bundles, the checks' verdict, and the channel that names the serving model.

Scoring rows is in `slates` and `serving`, grading in `evaluation`.
"""
