-- A month's features, computed on temporary tables and written by one MERGE. Rows of another writer (data_source) or of
-- another version are not changed. A row whose values are the same is not written, and keeps its updated_at.
DECLARE written, changed, others INT64 DEFAULT 0;

{prepare}

IF NOT EXISTS (SELECT 1 FROM faults) THEN
  {steps}

  CREATE OR REPLACE TEMP TABLE computed AS
  SELECT
    {computed}
  FROM (
    SELECT
      {keys},
      {scaled}
    FROM assembled_features
  );

  SET written = (SELECT COUNT(*) FROM computed);

  SET others = (
    SELECT COUNT(*)
    FROM {feature_table} AS stored
    JOIN computed ON computed.game_date = stored.game_date AND computed.player_lookup = stored.player_lookup
    WHERE stored.game_date BETWEEN DATE '{first}' AND DATE '{last}'
      AND stored.feature_version = '{version}'
      AND IFNULL(stored.data_source, '') != '{data_source}'
  );

  MERGE {feature_table} AS stored
  USING computed
  ON stored.game_date BETWEEN DATE '{first}' AND DATE '{last}'
    AND stored.game_date = computed.game_date
    AND stored.player_lookup = computed.player_lookup
    AND stored.feature_version = '{version}'
  WHEN MATCHED
    AND stored.game_date BETWEEN DATE '{first}' AND DATE '{last}'
    AND stored.data_source = '{data_source}'
    AND {differs}
  THEN
    UPDATE SET {updates}
  WHEN NOT MATCHED BY TARGET THEN
    INSERT ({columns})
    VALUES ({inserted})
  WHEN NOT MATCHED BY SOURCE
    AND stored.game_date BETWEEN DATE '{first}' AND DATE '{last}'
    AND stored.feature_version = '{version}'
    AND stored.data_source = '{data_source}'
  THEN
    DELETE;

  SET changed = @@row_count;
END IF;

SELECT written, changed, others, ARRAY(SELECT fault FROM faults ORDER BY fault) AS faults
