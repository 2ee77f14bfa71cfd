-- A part: a digest of everything about a feature row that can be read without its arrays. A value in an array that
-- changes alone is not seen: whoever writes it must set updated_at.
-- As JSON, in which no value runs into the next and a NULL does not make the whole of it NULL.
TO_HEX(MD5(TO_JSON_STRING(STRUCT(
  player_lookup, game_date, game_id, feature_version, feature_count, feature_quality_score, early_season_flag,
  updated_at
))))
