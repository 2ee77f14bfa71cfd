-- The box scores behind a month's features: 3 years back, for the features against an opponent and for the names of
-- lines. The newest version of each counts. A player without minutes or points did not play.
SELECT
  {values}
FROM (
  SELECT
    *,
    RANK() OVER (
      PARTITION BY player_lookup, game_date ORDER BY record_version DESC NULLS LAST, processed_at DESC NULLS LAST
    ) AS age
  FROM (
    SELECT
      {lookup} AS player_lookup,
      {columns},
      {did_not_play} AS did_not_play,
      {record_version} AS record_version,
      {processed_at} AS processed_at
    FROM {summary_table}
    WHERE game_date BETWEEN DATE_SUB(DATE '{first}', INTERVAL 3 YEAR) AND DATE '{until}'
  )
)
WHERE age = 1
  AND player_lookup IS NOT NULL
  AND minutes_played IS NOT NULL
  AND points IS NOT NULL
  AND NOT did_not_play
