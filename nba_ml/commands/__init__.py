"""The commands that `cli` puts together to `nba-ml`: arguments in, words and an exit code out."""
