"""The asset checks: one registry, one module per asset checked, one factory that makes Dagster checks of them.

To add a check: write a function from what the asset stored to a `Finding` in the asset's module, and
put a `Check` with its consequence, its threshold and its reason into that module's `checks`.
"""
