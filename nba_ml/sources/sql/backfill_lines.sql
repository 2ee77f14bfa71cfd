-- The points lines of a month.
SELECT
  universal_player_id,
  lookup AS player_lookup,
  game_date,
  book,
  CAST(line AS FLOAT64) AS line
FROM (
  {lines}
) AS lines
