"""Objects that are complete or absent: the interface, a directory, Cloud Storage, and values by asset and month."""
