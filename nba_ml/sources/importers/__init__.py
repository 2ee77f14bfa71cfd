"""Files of other systems, brought into a folder that the embedded source reads.

What belongs here: reading files, mapping their columns (`formats/*.toml`), finding ids, merging by month. No Dagster.
"""
