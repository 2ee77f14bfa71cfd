-- The state of both tables, month by month, without reading a feature array.
-- Parameters: @first, @last (dates, inclusive), @feature_version, @feature_count (the contract's).
-- A month's fingerprint is the exclusive or over its rows of 60 bits of a digest of what tells that a row changed.
WITH features AS (
  SELECT
    FORMAT_DATE('%Y-%m', game_date) AS month,
    NULLIF(REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', ''), '') AS player_lookup,
    game_date,
    game_id,
    updated_at,
    feature_quality_score,
    -- An early-season row may be empty; it was computed all the same.
    feature_version = @feature_version
      AND (feature_count = @feature_count OR IFNULL(early_season_flag, FALSE)) AS current_version,
    MD5(CONCAT(
      IFNULL(player_lookup, ''), '|', CAST(UNIX_DATE(game_date) AS STRING), '|',
      IFNULL(CAST(UNIX_MICROS(updated_at) AS STRING), ''), '|',
      IFNULL(feature_version, '')
    )) AS identity
  FROM {feature_table}
  WHERE game_date BETWEEN @first AND @last
),

results AS (
  SELECT
    FORMAT_DATE('%Y-%m', game_date) AS month,
    REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', '') AS player_lookup,
    game_date,
    game_id,
    MD5(CONCAT(
      IFNULL(player_lookup, ''), '|', CAST(UNIX_DATE(game_date) AS STRING), '|', CAST(points AS STRING), '|',
      CAST(minutes_played AS STRING)
    )) AS identity
  FROM {summary_table}
  WHERE game_date BETWEEN @first AND @last
    AND minutes_played > 0
    AND points IS NOT NULL
    AND REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', '') != ''  -- as in month_rows' reader: nobody's is none
),

feature_months AS (
  SELECT
    month,
    COUNT(*) AS feature_rows,
    COUNT(DISTINCT player_lookup) AS feature_players,
    COUNT(DISTINCT game_date) AS feature_dates,
    COUNT(DISTINCT game_id) AS feature_games,
    MAX(updated_at) AS newest_update,
    AVG(CAST(feature_quality_score AS FLOAT64)) AS quality,
    BIT_XOR(CAST(CONCAT('0x', SUBSTR(TO_HEX(identity), 1, 15)) AS INT64)) AS feature_fingerprint
  FROM features
  GROUP BY month
),

result_months AS (
  SELECT
    month,
    COUNT(DISTINCT CONCAT(player_lookup, '|', CAST(game_date AS STRING))) AS played_rows,
    COUNT(DISTINCT player_lookup) AS played_players,
    COUNT(DISTINCT game_date) AS played_dates,
    COUNT(DISTINCT game_id) AS played_games,
    BIT_XOR(CAST(CONCAT('0x', SUBSTR(TO_HEX(identity), 1, 15)) AS INT64)) AS result_fingerprint
  FROM results
  GROUP BY month
),

covered_months AS (
  SELECT results.month, COUNT(DISTINCT CONCAT(results.player_lookup, '|', CAST(results.game_date AS STRING))) AS covered
  FROM results
  INNER JOIN features ON results.player_lookup = features.player_lookup AND results.game_date = features.game_date
  WHERE features.current_version
  GROUP BY results.month
)

SELECT *
FROM feature_months
FULL OUTER JOIN result_months USING (month)
LEFT JOIN covered_months USING (month)
ORDER BY month
