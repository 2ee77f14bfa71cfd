-- The players of a date whose games are still to be played, in the columns of backfill_summary and without a result:
-- those who have a feature row of the platform's own version. A team is the one of the game's id that is not the
-- opponent, and a game without a home team is on neutral ground.
SELECT
  {upcoming_values}
FROM (
  SELECT
    *,
    IF(
      SPLIT(game_id, '_')[SAFE_OFFSET(1)] = opponent_team_abbr,
      SPLIT(game_id, '_')[SAFE_OFFSET(2)],
      SPLIT(game_id, '_')[SAFE_OFFSET(1)]
    ) AS team_abbr,
    MAX(IF(is_home, 1, 0)) OVER (PARTITION BY game_id) = 0 AS neutral_site,
    ROW_NUMBER() OVER (PARTITION BY player_lookup ORDER BY updated_at DESC) AS age
  FROM (
    SELECT
      {lookup} AS player_lookup,
      universal_player_id,
      game_date,
      game_id,
      opponent_team_abbr,
      is_home,
      updated_at
    FROM {feature_table}
    WHERE game_date = DATE '{last}'
      AND feature_version IN ({platform_versions})
  )
)
WHERE age = 1
  AND player_lookup IS NOT NULL
