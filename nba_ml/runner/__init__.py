"""The terminal's way through the graph: month by month, in one warm process, doing only what is needed."""
