-- opponent_ratings: a team before each of its games of the season, as seen by its opponents.
--
-- Its last 15 games: points allowed, pace, and field goal percentage allowed from two and from
-- three (attempts summed over the games). Frames end one row before the game, as in rate_teams.sql.
CREATE OR REPLACE TEMP TABLE opponent_ratings AS
WITH sums AS (
    SELECT
        team_abbr,
        game_date,
        count(*)                    OVER earlier_15 AS games,
        sum(points_allowed)         OVER earlier_15 AS points,
        sum(game_possessions_x200)  OVER earlier_15 AS possessions,
        sum(two_makes_allowed)      OVER earlier_15 AS two_makes,
        sum(two_attempts_allowed)   OVER earlier_15 AS two_attempts,
        sum(three_makes_allowed)    OVER earlier_15 AS three_makes,
        sum(three_attempts_allowed) OVER earlier_15 AS three_attempts
    FROM team_games
    WINDOW earlier_15 AS (PARTITION BY season, team_abbr ORDER BY game_date
                          ROWS BETWEEN 15 PRECEDING AND 1 PRECEDING)
)
SELECT
    team_abbr,
    game_date,
    possessions / nullif(200 * games, 0)         AS opponent_pace,
    100 * 200 * points / nullif(possessions, 0)  AS opponent_def_rating,
    100 * two_makes / nullif(two_attempts, 0)    AS two_pct_allowed,
    100 * three_makes / nullif(three_attempts, 0) AS three_pct_allowed
FROM sums;
