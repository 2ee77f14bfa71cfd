-- One month: every feature row, with its result where there is one, and every result without a feature row.
-- In no order: the snapshot puts its rows into one whatever order they come in, and an ORDER BY here would have one
-- worker sort all vectors, and one stream bring them.
-- Results without a player cannot be assigned: a date's come as one row, counted (box_scores), for the reader to set
-- aside.
-- Parameters: @first, @last (dates, inclusive), @feature_names (the contract's names, in order, joined by commas).
-- The halves of the rows' digests are those that observe_months sums: what was read has the version that is observed.
WITH feature_rows AS (
  SELECT
    TRUE AS has_features,
    {feature_keys},
    {feature_vectors},
    {feature_identity} AS feature_identity
  FROM {feature_table}
  WHERE game_date BETWEEN @first AND @last
    AND {of_version}
),

features AS (
  SELECT *
  FROM feature_rows
  WHERE TRUE
  {first_version}
),

{result_rows}

results AS (
  SELECT
    player_lookup,
    game_date,
    COUNT(*) AS box_scores,
    CAST(MAX(points) AS FLOAT64) AS points,
    CAST(MAX(minutes_played) AS FLOAT64) AS minutes_played,
    MIN(points) != MAX(points) OR MIN(minutes_played) != MAX(minutes_played) AS contradictory,
    SUM(CAST(CONCAT('0x', SUBSTR(identity, 1, 8)) AS INT64)) AS result_high,
    SUM(CAST(CONCAT('0x', SUBSTR(identity, 9, 8)) AS INT64)) AS result_low
  FROM box_scores
  GROUP BY player_lookup, game_date
)

SELECT
  * EXCEPT (feature_identity, version_rank),
  CAST(CONCAT('0x', SUBSTR(feature_identity, 1, 8)) AS INT64) AS feature_high,
  CAST(CONCAT('0x', SUBSTR(feature_identity, 9, 8)) AS INT64) AS feature_low,
  (SELECT COUNT(*) FROM feature_rows) - (SELECT COUNT(*) FROM features) AS other_versions,
  (SELECT COUNT(*) FROM result_versions WHERE superseded) AS older_results
FROM features
FULL OUTER JOIN results USING (player_lookup, game_date)
