"""Published models: publish and read bundles, the checks' verdict, and the channel that says which one serves.

What belongs here: whatever names, verifies or moves a published model. What does not: scoring rows for people
(`slates`, `serving`), and grading them (`evaluation`).
"""
