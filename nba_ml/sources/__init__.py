"""Where rows come from: files in a folder, or BigQuery's tables. What rows mean is `data`."""
