-- The state of both tables, month by month, without reading a feature array.
-- Parameters: @first, @last (dates, inclusive), @feature_count (the contract's).
-- A month's fingerprint is the sum of its rows' digests, in two halves of 32 bits: a sum of INT64 that overflows is an
-- error in BigQuery, and two billion such halves do not. A sum, because rows that are there twice count twice in it.
WITH feature_rows AS (
  SELECT
    {feature_keys},
    {feature_identity} AS identity
  FROM {feature_table}
  WHERE game_date BETWEEN @first AND @last
    AND {of_version}
),

-- `current_version`: a row that counts as covered. An early-season row may be empty; it was computed all the same. What
-- its arrays hold is not read here; `data.feature_rows` has the same rule for what is.
features AS (
  SELECT
    *,
    FORMAT_DATE('%Y-%m', game_date) AS month,
    IFNULL(early_season_flag, FALSE)
      OR (version_rank < {versions} AND IFNULL(feature_count, @feature_count) = @feature_count) AS current_version
  FROM feature_rows
  WHERE TRUE
  {first_version}
),

{result_rows}

results AS (
  SELECT *, FORMAT_DATE('%Y-%m', game_date) AS month
  FROM box_scores
  WHERE player_lookup IS NOT NULL  -- as in month_rows' reader, which sets these aside
),

played AS (
  SELECT DISTINCT player_lookup, game_date
  FROM results
),

other_versions AS (
  SELECT FORMAT_DATE('%Y-%m', game_date) AS month, COUNT(*) AS stored_rows
  FROM feature_rows
  GROUP BY month
),

older_results AS (
  SELECT FORMAT_DATE('%Y-%m', game_date) AS month, COUNT(*) AS older_results
  FROM result_versions
  WHERE superseded
  GROUP BY month
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
),

-- Players of the results without a feature row in the whole month: spelled differently, or left out by the backfill.
players_with_features AS (
  SELECT DISTINCT month, player_lookup
  FROM features
),

players_without_features AS (
  SELECT results.month, results.player_lookup, COUNT(DISTINCT results.game_date) AS games
  FROM results
  LEFT JOIN players_with_features AS known
    ON results.month = known.month AND results.player_lookup = known.player_lookup
  WHERE known.player_lookup IS NULL
  GROUP BY results.month, results.player_lookup
),

months_players AS (
  SELECT
    month,
    ARRAY_AGG(player_lookup ORDER BY games DESC, player_lookup) AS results_only,
    ARRAY_AGG(games ORDER BY games DESC, player_lookup) AS results_only_games
  FROM players_without_features
  GROUP BY month
),

-- Player-games whose features are dated the day before, or the day after, their result.
shifted_months AS (
  SELECT
    results.month,
    COUNT(DISTINCT IF(
      DATE_DIFF(features.game_date, results.game_date, DAY) = 1,
      CONCAT(results.player_lookup, '|', CAST(results.game_date AS STRING)), NULL
    )) AS dated_later,
    COUNT(DISTINCT IF(
      DATE_DIFF(features.game_date, results.game_date, DAY) = -1,
      CONCAT(results.player_lookup, '|', CAST(results.game_date AS STRING)), NULL
    )) AS dated_earlier
  FROM results
  INNER JOIN features
    ON results.player_lookup = features.player_lookup
    AND features.game_date BETWEEN DATE_SUB(results.game_date, INTERVAL 1 DAY)
      AND DATE_ADD(results.game_date, INTERVAL 1 DAY)
  GROUP BY results.month
),

known_dates AS (
  SELECT DISTINCT month, game_date FROM features
  UNION DISTINCT
  SELECT DISTINCT month, game_date FROM results
),

dates_of_months AS (
  SELECT month, ARRAY_AGG(game_date ORDER BY game_date) AS known_dates
  FROM known_dates
  GROUP BY month
)

SELECT *
FROM feature_months
FULL OUTER JOIN result_months USING (month)
LEFT JOIN covered_months USING (month)
LEFT JOIN months_without_results USING (month)
LEFT JOIN other_versions USING (month)
LEFT JOIN older_results USING (month)
LEFT JOIN months_players USING (month)
LEFT JOIN shifted_months USING (month)
LEFT JOIN dates_of_months USING (month)
ORDER BY month
