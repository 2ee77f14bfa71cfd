-- What changes when a month's lines with a price do. Parameters: @first, @last (dates, inclusive).
WITH listed AS (
  {priced_lines}
)

SELECT
  FORMAT_DATE('%Y-%m', game_date) AS month,
  COUNT(*) AS listed,
  SUM(CAST(CONCAT('0x', SUBSTR(identity, 1, 8)) AS INT64)) AS high,
  SUM(CAST(CONCAT('0x', SUBSTR(identity, 9, 8)) AS INT64)) AS low
FROM listed
GROUP BY month
