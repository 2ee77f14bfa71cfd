"""From box scores to the split: features in SQL, the validated month, the chronological split. Plain functions."""
