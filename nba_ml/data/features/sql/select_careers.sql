-- careers: all rows of the requested seasons and of the season before each, by the season that asks for them.
--
-- A player's career spans teams, and a summer. games_before counts the games he has played on earlier dates, so that
-- the game before a row is the one with that number: no row finds its own game.
CREATE OR REPLACE TEMP TABLE careers AS
WITH requested AS (
    SELECT DISTINCT season AS career_season, left(season, 4)::INTEGER AS first_year
    FROM summary
    WHERE game_date BETWEEN getvariable('first') AND getvariable('last')
),
of_seasons AS (
    SELECT
        career_season,
        player_lookup,
        game_date,
        game_id,
        season,
        team_abbr,
        -- NULL in the rows of games to be played
        coalesce(minutes_played, 0)::BIGINT AS minutes,
        points,
        100 * fg_attempts::BIGINT + 44 * ft_attempts::BIGINT + 100 * turnovers::BIGINT AS plays_x100
    FROM summary
    JOIN requested ON left(season, 4)::INTEGER BETWEEN first_year - 1 AND first_year
    WHERE game_date <= getvariable('last')
),
of_teams AS (
    SELECT career_season, game_id, team_abbr, sum(minutes) AS team_minutes
    FROM of_seasons
    GROUP BY career_season, game_id, team_abbr
)
SELECT
    career_season,
    player_lookup,
    game_date,
    season,
    team_abbr,
    minutes,
    team_minutes,
    points,
    plays_x100,
    coalesce(sum((minutes > 0)::INTEGER) OVER (
        PARTITION BY career_season, player_lookup ORDER BY game_date
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0)::BIGINT AS games_before
FROM of_seasons
JOIN of_teams USING (career_season, game_id, team_abbr);
