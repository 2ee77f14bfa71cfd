-- One month: the points lines with a price, each with the player_lookup under which the features are; in no order.
-- A line is of the player whose features of the date have its id, else of the player it names.
-- Parameters: @first, @last (dates, inclusive).
-- The halves of the digests are those that observe_prices sums.
WITH players AS (
  SELECT
    game_date,
    universal_player_id,
    MIN({lookup}) AS player_lookup  -- one, so that each line is counted once
  FROM {feature_table}
  WHERE game_date BETWEEN @first AND @last
    AND universal_player_id IS NOT NULL
  GROUP BY game_date, universal_player_id
),

listed AS (
  SELECT
    universal_player_id,
    {lookup} AS named,
    game_date,
    book,
    CAST(line AS FLOAT64) AS line,
    CAST(over_price AS FLOAT64) AS over_price,
    CAST(under_price AS FLOAT64) AS under_price,
    {line_identity} AS identity
  FROM {lines_table} AS lines
  WHERE game_date BETWEEN @first AND @last
    AND line IS NOT NULL
    AND (over_price IS NOT NULL OR under_price IS NOT NULL)
    {standing}
)

SELECT
  COALESCE(players.player_lookup, listed.named) AS player_lookup,
  listed.game_date,
  listed.book,
  listed.line,
  listed.over_price,
  listed.under_price,
  CAST(CONCAT('0x', SUBSTR(listed.identity, 1, 8)) AS INT64) AS high,
  CAST(CONCAT('0x', SUBSTR(listed.identity, 9, 8)) AS INT64) AS low
FROM listed
LEFT JOIN players
  ON listed.universal_player_id = players.universal_player_id AND listed.game_date = players.game_date
