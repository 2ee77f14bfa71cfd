-- The points lines of a month.
SELECT
  universal_player_id,
  line_lookup AS player_lookup,
  game_date,
  book,
  CAST(line AS FLOAT64) AS line
FROM (
  {lines}
) AS lines
