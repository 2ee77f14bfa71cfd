-- player_form: a player's scoring and minutes after each of his games of the season.
--
-- Sums are of integers, so every quotient is the same on any number of threads. Thresholds are
-- compared as integers too (3 * newest_two - 2 * three_before is 6 times the difference of the
-- means): a trend of exactly 2 points or a change of exactly 10% falls on its side for certain.
CREATE OR REPLACE TEMP TABLE player_form AS
WITH sums AS (
    SELECT
        player_lookup,
        game_date,
        games_played,
        least(games_played, 5)  AS games_5,
        least(games_played, 10) AS games_10,
        sum(points)                 OVER newest_2  AS points_2,
        sum(points)                 OVER newest_5  AS points_5,
        sum(points)                 OVER newest_10 AS points_10,
        sum(points::INTEGER * points::INTEGER) OVER newest_10 AS squares_10,
        sum(points)                 OVER to_date   AS points_season,
        sum(minutes_played)         OVER newest_10 AS minutes_10,
        sum(minutes_played)         OVER to_date   AS minutes_season
    FROM history
    WINDOW
        newest_2  AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS 1 PRECEDING),
        newest_5  AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS 4 PRECEDING),
        newest_10 AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS 9 PRECEDING),
        to_date   AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS UNBOUNDED PRECEDING)
),
compared AS (
    SELECT
        *,
        -- 6 x (mean of the 2 newest - mean of the 3 before); 0 where there are no 5 games.
        CASE WHEN games_played >= 5 THEN 3 * points_2 - 2 * (points_5 - points_2) ELSE 0 END AS trend_x6,
        minutes_10 * games_played  AS recent_minutes,
        minutes_season * games_10  AS usual_minutes
    FROM sums
)
SELECT
    player_lookup,
    game_date,
    points_5 / games_5           AS points_avg_last_5,
    points_10 / games_10         AS points_avg_last_10,
    points_season / games_played AS points_avg_season,
    CASE WHEN games_10 >= 2 THEN
        sqrt((games_10 * squares_10 - points_10 * points_10) / (games_10 * (games_10 - 1)))
    END AS points_std_last_10,
    CASE
        WHEN trend_x6 >= 30  THEN 2
        WHEN trend_x6 >= 12  THEN 1
        WHEN trend_x6 <= -30 THEN -2
        WHEN trend_x6 <= -12 THEN -1
        ELSE 0
    END AS recent_trend,
    CASE
        WHEN 10 * recent_minutes >= 12 * usual_minutes THEN 2
        WHEN 10 * recent_minutes >= 11 * usual_minutes THEN 1
        WHEN 10 * recent_minutes <= 8 * usual_minutes  THEN -2
        WHEN 10 * recent_minutes <= 9 * usual_minutes  THEN -1
        ELSE 0
    END AS minutes_change
FROM compared;
