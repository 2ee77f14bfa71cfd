-- A part: what is read of a feature row, by month_rows to train on and by slate_rows to score, so that the two are one.
-- Parameter: @feature_names.
-- Older rows have stray case and dots. The same canonical form on every side, or they never meet; nothing left of it is
-- nobody's, or all of those would be one player.
NULLIF(REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', ''), '') AS player_lookup,
game_date,
game_id,
features,
-- Compared here: the 33 names are most of a row's bytes, and nothing else is asked of them.
ARRAY_TO_STRING(feature_names, ',') = @feature_names AS names_in_order,
feature_version,
CAST(feature_quality_score AS FLOAT64) AS feature_quality_score,
early_season_flag,
updated_at
