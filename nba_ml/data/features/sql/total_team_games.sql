-- team_games: one row per team and game, with its opponent's totals beside its own.
--
-- Every row of the team counts, also those with 0 whole minutes: their shots were the team's.
-- Possessions of a team = FGA + 0.44 FTA - OREB + TOV; the game's = the mean of the two teams'.
-- Not normalised for overtime: a long game has more possessions, for both features and target.
-- All in hundredths (the sum of two teams' hundredths is 200 times the game's), hence integers.
CREATE OR REPLACE TEMP TABLE team_games AS
WITH totals AS (
    SELECT
        season,
        game_date,
        game_id,
        team_abbr,
        opponent_team_abbr,
        bool_or(team_won)                                        AS won,
        sum(minutes_played)::BIGINT                              AS minutes,
        sum(points)::BIGINT                                      AS points,
        sum(plays_x100)::BIGINT                                  AS plays_x100,
        (sum(plays_x100) - 100 * sum(offensive_rebounds))::BIGINT AS possessions_x100,
        sum(fg_makes - three_pt_makes)::BIGINT                   AS two_makes,
        sum(fg_attempts - three_pt_attempts)::BIGINT             AS two_attempts,
        sum(three_pt_makes)::BIGINT                              AS three_makes,
        sum(three_pt_attempts)::BIGINT                           AS three_attempts
    FROM games
    GROUP BY ALL
)
SELECT
    team.*,
    team.possessions_x100 + other.possessions_x100 AS game_possessions_x200,
    other.points                                   AS points_allowed,
    other.two_makes                                AS two_makes_allowed,
    other.two_attempts                             AS two_attempts_allowed,
    other.three_makes                              AS three_makes_allowed,
    other.three_attempts                           AS three_attempts_allowed
FROM totals AS team
JOIN totals AS other
  ON other.game_id = team.game_id AND other.team_abbr = team.opponent_team_abbr;
