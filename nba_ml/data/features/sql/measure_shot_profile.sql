-- player_shots: where a player's points and shots came from, after each game, last 10.
--
-- Box scores tell threes from twos and no more; paint and mid range stay missing.
CREATE OR REPLACE TEMP TABLE player_shots AS
WITH sums AS (
    SELECT
        player_lookup,
        game_date,
        sum(fg_attempts)       OVER newest_10 AS attempts,
        sum(three_pt_attempts) OVER newest_10 AS threes,
        sum(points)            OVER newest_10 AS points,
        sum(ft_makes)          OVER newest_10 AS free_throws
    FROM history
    WINDOW newest_10 AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS 9 PRECEDING)
)
SELECT
    player_lookup,
    game_date,
    threes / nullif(attempts, 0)    AS pct_three,
    free_throws / nullif(points, 0) AS pct_free_throw,
    -- The main zone: three where it is more than half of the shots; NULL without a shot.
    CASE WHEN attempts > 0 THEN 2 * threes > attempts END AS mainly_threes
FROM sums;
