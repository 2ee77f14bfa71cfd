"""One date: who plays, scored by the models that serve, stored, sent to BigQuery, and graded afterwards."""
