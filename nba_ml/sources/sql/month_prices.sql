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
  {priced_lines}
)

SELECT
  COALESCE(players.player_lookup, listed.player_lookup) AS player_lookup,
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
