-- A part: the condition for the rows of a player-game's first accepted version.
QUALIFY version_rank = MIN(version_rank) OVER (PARTITION BY player_lookup, game_date)
