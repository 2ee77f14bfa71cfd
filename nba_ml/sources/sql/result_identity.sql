-- A part: a digest of what is read of a box score.
TO_HEX(MD5(TO_JSON_STRING(STRUCT(player_lookup, game_date, points, minutes_played))))
