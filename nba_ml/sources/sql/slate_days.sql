-- The dates that have feature rows, of whatever version. Parameters: @first, @last (dates, inclusive). Reads the
-- partition column only.
SELECT DISTINCT game_date AS game_date
FROM {feature_table}
WHERE game_date BETWEEN @first AND @last
ORDER BY game_date
