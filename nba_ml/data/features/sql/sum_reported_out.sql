-- reported_out: the players of the rotation who are reported out of a date's game, and what is expected of them.
--
-- `reports` has at most one row per player and date: the last one before the cut-off.
CREATE OR REPLACE TEMP TABLE reported_out AS
SELECT
    rotation.team_abbr,
    rotation.game_date,
    rotation.player_lookup,
    -- Millionths: sums of floats would depend on the order of addition.
    round(1000000 * points_ewm_12)::BIGINT AS points_e6,
    round(1000000 * plays_ewm_3)::BIGINT   AS plays_e6
FROM absences AS rotation
JOIN player_expectations USING (player_lookup, game_date)
JOIN reports USING (player_lookup, game_date)
WHERE reports.is_out
  -- Of the usual rotation, as in assemble_careers.
  AND round(minutes_ewm_8, 6) >= 12;
