"""Whether the release is healthy, and who is notified if it is not. Facts and the clock come in as arguments."""
