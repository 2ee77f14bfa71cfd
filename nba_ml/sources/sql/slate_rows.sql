-- One date: its feature rows, before their results, in no order. Which of two rows with one key counts, and in which
-- order they are scored, is core.slate's to say.
-- Parameters: @day, @feature_names (the contract's names, in order, joined by commas).
SELECT
  {feature_columns},
  universal_player_id
FROM {feature_table}
WHERE game_date = @day
