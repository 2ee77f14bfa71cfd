-- absences: per team and date, who played in one of its last ten games and missed the last one.
--
-- Games of the season before the date. A player who has played for another team since is gone, not absent.
-- team_calendar numbers a team's games of the season.
CREATE OR REPLACE TEMP TABLE team_calendar AS
SELECT
    season,
    team_abbr,
    game_date,
    row_number() OVER (PARTITION BY season, team_abbr ORDER BY game_date) AS team_game
FROM team_games;

CREATE OR REPLACE TEMP TABLE absences AS
WITH played AS (
    SELECT
        player_lookup,
        game_date,
        season,
        team_abbr,
        games_before + 1 AS number,
        lead(game_date) OVER (PARTITION BY career_season, player_lookup ORDER BY game_date) AS next_date
    FROM careers
    WHERE minutes > 0 AND season = career_season
)
SELECT
    fixture.season,
    fixture.team_abbr,
    fixture.game_date,
    played.player_lookup,
    played.number AS games_before
FROM played
JOIN team_calendar AS latest
  ON latest.season = played.season
 AND latest.team_abbr = played.team_abbr
 AND latest.game_date = played.game_date
JOIN team_calendar AS fixture
  ON fixture.season = latest.season
 AND fixture.team_abbr = latest.team_abbr
 AND fixture.team_game BETWEEN latest.team_game + 2 AND latest.team_game + 10
WHERE fixture.game_date BETWEEN getvariable('first') AND getvariable('last')
  -- Still his latest game on that date, for any team.
  AND (played.next_date IS NULL OR played.next_date >= fixture.game_date);
