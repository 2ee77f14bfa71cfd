"""Health of the release, and notices of failures. Facts and the current time are arguments."""
