-- One date: its feature rows, before their results, in no order. Which of two rows with one key counts, and in which
-- order they are scored, is core.slate's to say.
-- Parameters: @day, @feature_names (the contract's names, in order, joined by commas).
SELECT
  -- As in month_rows: older rows have stray case and dots.
  REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', '') AS player_lookup,
  game_date,
  game_id,
  features,
  ARRAY_TO_STRING(feature_names, ',') = @feature_names AS names_in_order,
  feature_version,
  CAST(feature_quality_score AS FLOAT64) AS feature_quality_score,
  early_season_flag,
  updated_at,
  universal_player_id
FROM {feature_table}
WHERE game_date = @day
