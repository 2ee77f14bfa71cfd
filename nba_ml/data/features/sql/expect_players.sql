-- player_expectations: what to expect of a player on a date, by his last 64 games of the season and the one before.
--
-- Weighted means; the weights halve every 1, 3, 8 or 12 games. Sums of 64 games are made by doubling: with weight w per
-- game, the sum of 2 games is x + w * (x of the game before), that of 4 games is the sum of 2 + w^2 * (the sum of 2, two
-- games before), and so on. Each is one expression of its row, so that no order of addition depends on threads.
-- For the requested rows, and for those who are absent.
CREATE OR REPLACE TEMP TABLE player_expectations AS
WITH sums_of_1 AS (
    SELECT
        career_season,
        player_lookup,
        game_date,
        games_before + 1                          AS number,
        points::DOUBLE                            AS points_12,
        plays_x100::DOUBLE                        AS plays_x100_3,
        minutes::DOUBLE / team_minutes            AS minutes_share_3,
        minutes::DOUBLE                           AS minutes_1,
        minutes::DOUBLE                           AS minutes_8
    FROM careers
    WHERE minutes > 0
),
sums_of_2 AS (
    SELECT
        career_season, player_lookup, game_date, number,
        points_12 + pow(0.5, 1 / 12.0) * coalesce(lag(points_12, 1) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS points_12,
        plays_x100_3 + pow(0.5, 1 / 3.0) * coalesce(lag(plays_x100_3, 1) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS plays_x100_3,
        minutes_share_3 + pow(0.5, 1 / 3.0) * coalesce(lag(minutes_share_3, 1) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_share_3,
        minutes_1 + pow(0.5, 1 / 1.0) * coalesce(lag(minutes_1, 1) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_1,
        minutes_8 + pow(0.5, 1 / 8.0) * coalesce(lag(minutes_8, 1) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_8
    FROM sums_of_1
),
sums_of_4 AS (
    SELECT
        career_season, player_lookup, game_date, number,
        points_12 + pow(0.5, 2 / 12.0) * coalesce(lag(points_12, 2) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS points_12,
        plays_x100_3 + pow(0.5, 2 / 3.0) * coalesce(lag(plays_x100_3, 2) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS plays_x100_3,
        minutes_share_3 + pow(0.5, 2 / 3.0) * coalesce(lag(minutes_share_3, 2) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_share_3,
        minutes_1 + pow(0.5, 2 / 1.0) * coalesce(lag(minutes_1, 2) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_1,
        minutes_8 + pow(0.5, 2 / 8.0) * coalesce(lag(minutes_8, 2) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_8
    FROM sums_of_2
),
sums_of_8 AS (
    SELECT
        career_season, player_lookup, game_date, number,
        points_12 + pow(0.5, 4 / 12.0) * coalesce(lag(points_12, 4) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS points_12,
        plays_x100_3 + pow(0.5, 4 / 3.0) * coalesce(lag(plays_x100_3, 4) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS plays_x100_3,
        minutes_share_3 + pow(0.5, 4 / 3.0) * coalesce(lag(minutes_share_3, 4) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_share_3,
        minutes_1 + pow(0.5, 4 / 1.0) * coalesce(lag(minutes_1, 4) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_1,
        minutes_8 + pow(0.5, 4 / 8.0) * coalesce(lag(minutes_8, 4) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_8
    FROM sums_of_4
),
sums_of_16 AS (
    SELECT
        career_season, player_lookup, game_date, number,
        points_12 + pow(0.5, 8 / 12.0) * coalesce(lag(points_12, 8) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS points_12,
        plays_x100_3 + pow(0.5, 8 / 3.0) * coalesce(lag(plays_x100_3, 8) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS plays_x100_3,
        minutes_share_3 + pow(0.5, 8 / 3.0) * coalesce(lag(minutes_share_3, 8) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_share_3,
        minutes_1 + pow(0.5, 8 / 1.0) * coalesce(lag(minutes_1, 8) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_1,
        minutes_8 + pow(0.5, 8 / 8.0) * coalesce(lag(minutes_8, 8) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_8
    FROM sums_of_8
),
sums_of_32 AS (
    SELECT
        career_season, player_lookup, game_date, number,
        points_12 + pow(0.5, 16 / 12.0) * coalesce(lag(points_12, 16) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS points_12,
        plays_x100_3 + pow(0.5, 16 / 3.0) * coalesce(lag(plays_x100_3, 16) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS plays_x100_3,
        minutes_share_3 + pow(0.5, 16 / 3.0) * coalesce(lag(minutes_share_3, 16) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_share_3,
        minutes_1 + pow(0.5, 16 / 1.0) * coalesce(lag(minutes_1, 16) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_1,
        minutes_8 + pow(0.5, 16 / 8.0) * coalesce(lag(minutes_8, 16) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_8
    FROM sums_of_16
),
sums_of_64 AS (
    SELECT
        career_season, player_lookup, game_date, number,
        points_12 + pow(0.5, 32 / 12.0) * coalesce(lag(points_12, 32) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS points_12,
        plays_x100_3 + pow(0.5, 32 / 3.0) * coalesce(lag(plays_x100_3, 32) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS plays_x100_3,
        minutes_share_3 + pow(0.5, 32 / 3.0) * coalesce(lag(minutes_share_3, 32) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_share_3,
        minutes_1 + pow(0.5, 32 / 1.0) * coalesce(lag(minutes_1, 32) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_1,
        minutes_8 + pow(0.5, 32 / 8.0) * coalesce(lag(minutes_8, 32) OVER (
            PARTITION BY career_season, player_lookup ORDER BY game_date), 0) AS minutes_8
    FROM sums_of_32
),
asked AS (
    SELECT season AS career_season, player_lookup, game_date, games_before
    FROM careers
    WHERE game_date BETWEEN getvariable('first') AND getvariable('last') AND season = career_season
    UNION
    SELECT season, player_lookup, game_date, games_before FROM absences
)
SELECT
    asked.player_lookup,
    asked.game_date,
    latest.game_date AS last_date,
    -- The sum of the weights of n games is (1 - w^n) / (1 - w).
    points_12 * (1 - pow(0.5, 1 / 12.0)) / (1 - pow(0.5, least(number, 64) / 12.0))         AS points_ewm_12,
    plays_x100_3 / 100 * (1 - pow(0.5, 1 / 3.0)) / (1 - pow(0.5, least(number, 64) / 3.0))  AS plays_ewm_3,
    minutes_share_3 * (1 - pow(0.5, 1 / 3.0)) / (1 - pow(0.5, least(number, 64) / 3.0))     AS minutes_share_ewm_3,
    minutes_1 * (1 - pow(0.5, 1 / 1.0)) / (1 - pow(0.5, least(number, 64) / 1.0))           AS minutes_ewm_1,
    minutes_8 * (1 - pow(0.5, 1 / 8.0)) / (1 - pow(0.5, least(number, 64) / 8.0))           AS minutes_ewm_8
FROM asked
JOIN sums_of_64 AS latest
  ON latest.career_season = asked.career_season
 AND latest.player_lookup = asked.player_lookup
 AND latest.number = asked.games_before;
