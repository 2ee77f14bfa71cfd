-- player_workload: how much a player played in the days before each date, and how rested he is.
--
-- Windows are of calendar days and end the day before the date. They run over all rows, so that a
-- row with 0 minutes has a workload as well, and count only games played (minutes above 0).
-- No season in them: the longest, 30 days, is shorter than any summer.
-- Fatigue is of the player's own games, whatever team they were for; ages are unknown here. A
-- player without an earlier game is rested: 100 + 5, clamped to 100.
CREATE OR REPLACE TEMP TABLE player_workload AS
WITH days AS (
    SELECT
        player_lookup,
        game_date,
        (minutes_played > 0)::INTEGER                          AS played,
        minutes_played                                         AS minutes,
        CASE WHEN minutes_played > 0 THEN points ELSE 0 END    AS points,
        coalesce(sum((minutes_played > 0)::INTEGER) OVER (
            PARTITION BY player_lookup ORDER BY game_date
            RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL 1 DAY PRECEDING
        ), 0)                                                  AS played_day_before
    FROM games
    WHERE game_date >= getvariable('first') - 30
),
sums AS (
    SELECT
        player_lookup,
        game_date,
        coalesce(sum(played)  OVER days_7, 0)                       AS games_7,
        coalesce(sum(minutes) OVER days_7, 0)                       AS minutes_7,
        -- A pair belongs to the 14 days if its second game does.
        coalesce(sum(played * played_day_before) OVER days_14, 0)   AS pairs_14,
        sum(played)  OVER days_30                                   AS games_30,
        sum(minutes) OVER days_30                                   AS minutes_30,
        sum(points)  OVER days_30                                   AS points_30
    FROM days
    WINDOW
        days_7  AS (PARTITION BY player_lookup ORDER BY game_date
                    RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND INTERVAL 1 DAY PRECEDING),
        days_14 AS (PARTITION BY player_lookup ORDER BY game_date
                    RANGE BETWEEN INTERVAL 14 DAYS PRECEDING AND INTERVAL 1 DAY PRECEDING),
        days_30 AS (PARTITION BY player_lookup ORDER BY game_date
                    RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND INTERVAL 1 DAY PRECEDING)
)
SELECT
    player_lookup,
    game_date,
    sums.games_7 AS games_in_last_7_days,
    greatest(0, least(100,
        100
        + CASE WHEN target.days_rest = 0 THEN -15 WHEN target.days_rest < 3 THEN 0 ELSE 5 END
        + CASE WHEN sums.games_7 >= 4 THEN -10 ELSE 0 END
        + CASE WHEN sums.minutes_7 > 240 THEN -10 ELSE 0 END
        + CASE WHEN sums.minutes_7 > 35 * sums.games_7 THEN -8 ELSE 0 END
        + CASE WHEN sums.pairs_14 >= 2 THEN -12 WHEN sums.pairs_14 = 1 THEN -5 ELSE 0 END
    )) AS fatigue_score,
    sums.minutes_30 / nullif(sums.games_30, 0)   AS minutes_avg_last_10,
    sums.points_30 / nullif(sums.minutes_30, 0)  AS ppm_avg_last_10
FROM target_rows AS target
JOIN sums USING (player_lookup, game_date);
