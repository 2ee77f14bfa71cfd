-- league_zones: the league's field goal percentage from two and from three before each date.
--
-- All games of the season on earlier dates; the games of the date itself are not among them.
CREATE OR REPLACE TEMP TABLE league_zones AS
WITH days AS (
    SELECT
        season,
        game_date,
        sum(two_makes)::BIGINT      AS two_makes,
        sum(two_attempts)::BIGINT   AS two_attempts,
        sum(three_makes)::BIGINT    AS three_makes,
        sum(three_attempts)::BIGINT AS three_attempts
    FROM team_games
    GROUP BY ALL
)
SELECT
    season,
    game_date,
    100 * sum(two_makes) OVER earlier / nullif(sum(two_attempts) OVER earlier, 0)     AS league_two_pct,
    100 * sum(three_makes) OVER earlier / nullif(sum(three_attempts) OVER earlier, 0) AS league_three_pct
FROM days
WINDOW earlier AS (PARTITION BY season ORDER BY game_date ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);
