-- The state of both tables, month by month, without reading a feature array.
-- Parameters: @first, @last (dates, inclusive), @feature_version, @feature_count (the contract's).
-- A month's fingerprint is the sum of its rows' digests, in two halves of 32 bits: a sum of INT64 that overflows is an
-- error in BigQuery, and two billion such halves do not. A sum, because rows that are there twice count twice in it.
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
    {feature_identity} AS identity
  FROM {feature_table}
  WHERE game_date BETWEEN @first AND @last
),

results AS (
  SELECT
    FORMAT_DATE('%Y-%m', game_date) AS month,
    REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', '') AS player_lookup,
    game_date,
    game_id,
    {result_identity} AS identity
  FROM {summary_table}
  WHERE game_date BETWEEN @first AND @last
    AND minutes_played > 0
    AND points IS NOT NULL
    AND REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', '') != ''  -- as in month_rows' reader: nobody's is none
),

played AS (
  SELECT DISTINCT player_lookup, game_date
  FROM results
),

feature_months AS (
  SELECT
    month,
    COUNT(*) AS feature_rows,
    COUNT(DISTINCT player_lookup) AS feature_players,
    COUNT(DISTINCT game_date) AS feature_dates,
    COUNT(DISTINCT game_id) AS feature_games,
    COUNTIF(player_lookup IS NOT NULL)
      - COUNT(DISTINCT CONCAT(player_lookup, '|', CAST(game_date AS STRING))) AS feature_duplicates,
    COUNTIF(updated_at IS NULL) AS undated,
    MAX(updated_at) AS newest_update,
    AVG(CAST(feature_quality_score AS FLOAT64)) AS quality,
    SUM(CAST(CONCAT('0x', SUBSTR(identity, 1, 8)) AS INT64)) AS feature_high,
    SUM(CAST(CONCAT('0x', SUBSTR(identity, 9, 8)) AS INT64)) AS feature_low
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
    COUNT(*) - COUNT(DISTINCT CONCAT(player_lookup, '|', CAST(game_date AS STRING))) AS played_duplicates,
    SUM(CAST(CONCAT('0x', SUBSTR(identity, 1, 8)) AS INT64)) AS played_high,
    SUM(CAST(CONCAT('0x', SUBSTR(identity, 9, 8)) AS INT64)) AS played_low
  FROM results
  GROUP BY month
),

covered_months AS (
  SELECT results.month, COUNT(DISTINCT CONCAT(results.player_lookup, '|', CAST(results.game_date AS STRING))) AS covered
  FROM results
  INNER JOIN features ON results.player_lookup = features.player_lookup AND results.game_date = features.game_date
  WHERE features.current_version
  GROUP BY results.month
),

-- By game, and not by player: whoever sat out has features and, by right, no result. Joined by player and date: the
-- two tables may write the id of a game differently.
games AS (
  SELECT
    features.month,
    features.game_date,
    COUNT(DISTINCT features.player_lookup) AS players,
    COUNT(played.player_lookup) AS results
  FROM features
  LEFT JOIN played ON features.player_lookup = played.player_lookup AND features.game_date = played.game_date
  GROUP BY features.month, features.game_date, features.game_id
),

dates_without_results AS (
  SELECT month, game_date, SUM(players) AS players
  FROM games
  WHERE results = 0 AND players > 0
  GROUP BY month, game_date
),

months_without_results AS (
  SELECT
    month,
    ARRAY_AGG(game_date ORDER BY game_date) AS dates_without_results,
    ARRAY_AGG(players ORDER BY game_date) AS players_without_results
  FROM dates_without_results
  GROUP BY month
)

SELECT *
FROM feature_months
FULL OUTER JOIN result_months USING (month)
LEFT JOIN covered_months USING (month)
LEFT JOIN months_without_results USING (month)
ORDER BY month
