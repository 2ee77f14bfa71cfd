"""The thinking: plain functions over plain types, no Dagster, no environment, no clock.

What belongs here: anything that can be tested by calling it with values.
What does not: reading settings, talking to Dagster, deciding where files lie.
"""
