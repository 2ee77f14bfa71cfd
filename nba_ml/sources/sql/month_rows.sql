-- One month: every feature row, with its result where there is one, and every result without a feature row.
-- In no order: the snapshot puts its rows into one whatever order they come in, and an ORDER BY here would have one
-- worker sort all vectors, and one stream bring them.
-- Results without a player are nobody's: a date's come as one row, counted (box_scores), for the reader to set aside.
-- Parameters: @first, @last (dates, inclusive), @feature_names (the contract's names, in order, joined by commas).
WITH features AS (
  SELECT
    TRUE AS has_features,
    {feature_columns},
    -- As in observe_months, where 60 bits of it are folded: the fingerprint of what was read is that of what is observed.
    MD5(CONCAT(
      IFNULL(player_lookup, ''), '|', CAST(UNIX_DATE(game_date) AS STRING), '|',
      IFNULL(CAST(UNIX_MICROS(updated_at) AS STRING), ''), '|',
      IFNULL(feature_version, '')
    )) AS feature_identity
  FROM {feature_table}
  WHERE game_date BETWEEN @first AND @last
),

results AS (
  SELECT
    NULLIF(REGEXP_REPLACE(LOWER(player_lookup), r'[^a-z]', ''), '') AS player_lookup,
    game_date,
    COUNT(*) AS box_scores,
    CAST(MAX(points) AS FLOAT64) AS points,
    CAST(MAX(minutes_played) AS FLOAT64) AS minutes_played,
    MIN(points) != MAX(points) OR MIN(minutes_played) != MAX(minutes_played) AS contradictory,
    BIT_XOR(CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5(CONCAT(
      IFNULL(player_lookup, ''), '|', CAST(UNIX_DATE(game_date) AS STRING), '|', CAST(points AS STRING), '|',
      CAST(minutes_played AS STRING)
    ))), 1, 15)) AS INT64)) AS result_identity
  FROM {summary_table}
  WHERE game_date BETWEEN @first AND @last
    AND minutes_played > 0
    AND points IS NOT NULL
  GROUP BY 1, game_date
)

SELECT *
FROM features
FULL OUTER JOIN results USING (player_lookup, game_date)
