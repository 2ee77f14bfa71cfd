-- One date: the points lines with a price, in no order.
-- Parameter: @day.
SELECT
  universal_player_id,
  {lookup} AS player_lookup,
  game_date,
  book,
  CAST(line AS FLOAT64) AS line,
  CAST(over_price AS FLOAT64) AS over_price,
  CAST(under_price AS FLOAT64) AS under_price
FROM {lines_table} AS lines
WHERE game_date = @day
  AND line IS NOT NULL
  AND (over_price IS NOT NULL OR under_price IS NOT NULL)
  {standing}
