-- The points lines with a price, and a digest of each, in no order; also a part of the months' statements.
-- Parameters: @first, @last (dates, inclusive).
SELECT
  universal_player_id,
  line_lookup AS player_lookup,
  game_date,
  book,
  CAST(line AS FLOAT64) AS line,
  CAST(over_price AS FLOAT64) AS over_price,
  CAST(under_price AS FLOAT64) AS under_price,
  {line_identity} AS identity
FROM (
  {lines}
) AS lines
WHERE over_price IS NOT NULL OR under_price IS NOT NULL
