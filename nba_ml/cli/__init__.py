"""`nba-ml`: one module per command. Arguments in, words and an exit code out."""
