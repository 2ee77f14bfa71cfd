"""The groups of commands that `cli` adds to `nba-ml`: arguments in, words and an exit code out."""
