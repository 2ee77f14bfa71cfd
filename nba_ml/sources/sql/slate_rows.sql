-- One date: its feature rows, before their results, in no order. Which of two rows with one key counts, and in which
-- order they are scored, `slates.slate` decides.
-- Parameters: @day, @feature_names (the contract's names, in order, joined by commas).
WITH feature_rows AS (
  SELECT
    {feature_keys},
    {feature_vectors},
    universal_player_id AS universal_player_id
  FROM {feature_table}
  WHERE game_date = @day
    AND {of_version}
)

SELECT *
FROM feature_rows
WHERE TRUE
{first_version}
