"""Everything at once, and what goes wrong meanwhile: commands, a service that follows the channel, and a fault each.

`make chaos` runs it for ten minutes; `NBA_ML_CHAOS_SEED` repeats a run.
"""
