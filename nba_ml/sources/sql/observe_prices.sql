-- What changes when a month's lines with a price do. Parameters: @first, @last (dates, inclusive).
WITH listed AS (
  SELECT
    FORMAT_DATE('%Y-%m', game_date) AS month,
    {line_identity} AS identity
  FROM {lines_table} AS lines
  WHERE game_date BETWEEN @first AND @last
    AND line IS NOT NULL
    AND (over_price IS NOT NULL OR under_price IS NOT NULL)
    {standing}
)

SELECT
  month,
  COUNT(*) AS listed,
  SUM(CAST(CONCAT('0x', SUBSTR(identity, 1, 8)) AS INT64)) AS high,
  SUM(CAST(CONCAT('0x', SUBSTR(identity, 9, 8)) AS INT64)) AS low
FROM listed
GROUP BY month
