-- What systems predicted for the games of a month: their active rows. Which of them count, `slates.platform_rows`
-- decides, so that what is left out can be counted.
-- Parameters: @first, @last (dates, inclusive). The ids are constants, because the table is clustered by them.
SELECT
  system_id AS system_id,
  {lookup} AS player_lookup,
  game_date AS game_date,
  game_id AS game_id,
  CAST(predicted_points AS FLOAT64) AS predicted_points,
  CAST({current_points_line} AS FLOAT64) AS current_points_line,
  {line_source} AS line_source,
  {recommendation} AS recommendation,
  {invalidated} AS invalidated,
  {prediction_made_before_game} AS made_before_game,
  {prediction_version} AS prediction_version,
  CAST({created_at} AS TIMESTAMP) AS created_at
FROM {prediction_table}
WHERE game_date BETWEEN @first AND @last AND is_active AND system_id IN ({systems})
