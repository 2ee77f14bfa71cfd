SELECT *, {lookup} AS line_lookup
FROM {lines_table}
WHERE {conditions}
