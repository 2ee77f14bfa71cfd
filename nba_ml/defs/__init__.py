"""All of Dagster, by its concepts: assets, checks, partitions, resources, jobs, schedules, sensors.

What belongs here: reading, calling the packages below, recording. What does not: computation.
"""
