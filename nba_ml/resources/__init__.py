"""What the graph needs from outside: stores and feature sources, each behind plain methods.

What belongs here: talking to disks, buckets and databases. What does not: deciding what the bytes mean.
"""
