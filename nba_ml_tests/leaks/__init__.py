"""Leak drills: faults that history teaches, planted into real months, each of which a check must catch."""
