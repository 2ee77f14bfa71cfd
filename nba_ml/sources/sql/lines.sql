SELECT *, {lookup} AS lookup
FROM {lines_table}
WHERE {conditions}
