-- A part: what is read of a feature row beside its arrays, by every query alike.
-- `version_rank` is the version's place among the accepted ones: of a player-game's rows only those of the first such
-- version count, whatever else is in the table. Then duplicates are resolved.
{lookup} AS player_lookup,
game_date AS game_date,
game_id AS game_id,
{version_rank} AS version_rank,
{feature_count} AS feature_count,
IF({version_rank} < {versions}, '{own_version}', feature_version) AS feature_version,
CAST(feature_quality_score AS FLOAT64) AS feature_quality_score,
early_season_flag AS early_season_flag,
updated_at AS updated_at
