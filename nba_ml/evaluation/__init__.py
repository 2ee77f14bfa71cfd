"""Out-of-time results: a month predicted by the model of the month before, graded, and all of them together."""
