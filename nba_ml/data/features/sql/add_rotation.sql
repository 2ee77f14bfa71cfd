-- absences, with those of the rotation who played in the team's last game: any of them may be out of the next one.
--
-- expect_players gives the expectations of everyone in `absences`. Afterwards find_absences runs again, so that
-- absent_points and absent_plays do not count who has missed nothing.
INSERT INTO absences
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
 AND fixture.team_game = latest.team_game + 1
WHERE fixture.game_date BETWEEN getvariable('first') AND getvariable('last')
  -- A player can be traded between two games of his old team.
  AND (played.next_date IS NULL OR played.next_date >= fixture.game_date);
