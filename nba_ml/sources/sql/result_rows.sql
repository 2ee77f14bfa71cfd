-- A part: three named queries. box_scores are the results that count: the newest version of each, by record_version and
-- then by processed_at where the table has them. Versions that cannot be told apart all stay.
stored_results AS (
  SELECT
    {lookup} AS player_lookup,
    game_date AS game_date,
    game_id AS game_id,
    points AS points,
    minutes_played AS minutes_played,
    {record_version} AS record_version,
    {processed_at} AS processed_at,
    {result_identity} AS identity
  FROM {summary_table}
  WHERE game_date BETWEEN @first AND @last
),

result_versions AS (
  SELECT
    *,
    RANK() OVER (
      PARTITION BY player_lookup, game_date ORDER BY record_version DESC NULLS LAST, processed_at DESC NULLS LAST
    ) > 1 AND player_lookup IS NOT NULL AS superseded
  FROM stored_results
),

box_scores AS (
  SELECT *
  FROM result_versions
  WHERE NOT superseded
    AND minutes_played > 0
    AND points IS NOT NULL
),
