-- team_ratings: a team before each of its games of the season: rest, wins, offence and pace.
--
-- A team plays once a day, so a frame that ends one row before the game lies strictly before its
-- date. Ratings are sums over sums, so that a long game weighs more; pace is a mean over games.
-- Hundredths of possessions come from total_team_games.sql: game possessions are the x200 sum / 200.
CREATE OR REPLACE TEMP TABLE team_ratings AS
WITH sums AS (
    SELECT
        team_abbr,
        game_date,
        game_date - lag(game_date) OVER earlier - 1 AS days_rest,
        count(*)                   OVER earlier     AS games,
        sum(won::INTEGER)          OVER earlier     AS wins,
        count(*)                   OVER earlier_10  AS games_10,
        sum(points)                OVER earlier_10  AS points_10,
        sum(game_possessions_x200) OVER earlier_10  AS possessions_10
    FROM team_games
    WINDOW
        earlier    AS (PARTITION BY season, team_abbr ORDER BY game_date
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        earlier_10 AS (PARTITION BY season, team_abbr ORDER BY game_date
                       ROWS BETWEEN 10 PRECEDING AND 1 PRECEDING)
)
SELECT
    team_abbr,
    game_date,
    days_rest,
    (days_rest IS NOT DISTINCT FROM 0)::INTEGER     AS back_to_back,
    wins / nullif(games, 0)                         AS team_win_pct,
    possessions_10 / nullif(200 * games_10, 0)      AS team_pace,
    100 * 200 * points_10 / nullif(possessions_10, 0) AS team_off_rating
FROM sums;
