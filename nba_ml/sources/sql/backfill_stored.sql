-- What the MERGE reads of a month of the feature table.
SELECT {columns}
FROM {feature_table}
WHERE game_date BETWEEN DATE '{first}' AND DATE '{last}'
