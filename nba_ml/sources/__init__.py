"""Sources of rows: files in a folder, or BigQuery tables. `data` interprets the rows."""
