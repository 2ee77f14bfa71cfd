-- The first and the last date of a version in the feature table. Parameters: @first, @last (dates, inclusive), for the
-- partition filter. Reads the partition column and the version only.
SELECT MIN(game_date) AS first_date, MAX(game_date) AS last_date
FROM {feature_table}
WHERE game_date BETWEEN @first AND @last
  AND {of_version}
