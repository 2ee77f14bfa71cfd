-- player_versus_opponent: a player against the opponent of the date, 3 calendar years back.
--
-- The one feature that crosses seasons far, so it reads `summary` itself and only pairs that meet.
-- 3 years before 29 February is 28 February.
CREATE OR REPLACE TEMP TABLE player_versus_opponent AS
SELECT
    target.player_lookup,
    target.game_date,
    count(*)                             AS games_vs_opponent,
    sum(earlier.points)::BIGINT / count(*) AS avg_points_vs_opponent
FROM target_rows AS target
JOIN summary AS earlier
  ON earlier.player_lookup = target.player_lookup
 AND earlier.opponent_team_abbr = target.opponent_team_abbr
 AND earlier.game_date < target.game_date
 AND earlier.game_date >= target.game_date - INTERVAL 3 YEARS
WHERE earlier.minutes_played > 0
GROUP BY ALL;
