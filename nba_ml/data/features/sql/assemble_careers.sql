-- assembled_careers: the columns of `assembled`, and those that follow players across seasons.
--
-- This version predicts from a season's first day, so that no row is early; a row is ready if the player has a game.
CREATE OR REPLACE TEMP VIEW assembled_careers AS
WITH of_absent AS (
    -- Millionths: sums of floats would depend on the order of addition.
    SELECT
        absences.team_abbr,
        absences.game_date,
        absences.player_lookup,
        round(1000000 * points_ewm_12)::BIGINT AS points_e6,
        round(1000000 * plays_ewm_3)::BIGINT   AS plays_e6
    FROM absences
    JOIN player_expectations USING (player_lookup, game_date)
    -- Of the usual rotation. Rounded: 12 minutes in every game must not be 11.999999999 of them.
    WHERE round(minutes_ewm_8, 6) >= 12
),
of_team AS (
    SELECT team_abbr, game_date, sum(points_e6)::BIGINT AS points_e6, sum(plays_e6)::BIGINT AS plays_e6
    FROM of_absent
    GROUP BY team_abbr, game_date
),
missed AS (
    SELECT target.player_lookup, target.game_date, count(*) AS team_games_missed
    FROM target_rows AS target
    JOIN player_expectations AS expected USING (player_lookup, game_date)
    JOIN team_calendar AS game
      ON game.season = target.season
     AND game.team_abbr = target.team_abbr
     AND game.game_date > expected.last_date
     AND game.game_date < target.game_date
    GROUP BY target.player_lookup, target.game_date
)
SELECT
    assembled.* EXCLUDE (early_season_flag, is_production_ready),
    false AS early_season_flag,
    expected.last_date IS NOT NULL AS is_production_ready,
    expected.points_ewm_12,
    expected.plays_ewm_3,
    expected.minutes_ewm_1,
    expected.minutes_share_ewm_3,
    -- Without the player himself: he is back. NULL before the team's first game of the season.
    CASE WHEN fixture.team_game > 1 THEN
        (coalesce(of_team.points_e6, 0) - coalesce(own.points_e6, 0)) / 1000000
    END AS absent_points,
    CASE WHEN fixture.team_game > 1 THEN
        (coalesce(of_team.plays_e6, 0) - coalesce(own.plays_e6, 0)) / 1000000
    END AS absent_plays,
    CASE WHEN expected.last_date IS NOT NULL THEN
        least(60, assembled.game_date - expected.last_date)
    END AS days_since_last_game,
    CASE WHEN expected.last_date IS NOT NULL THEN coalesce(missed.team_games_missed, 0) END AS team_games_missed
FROM assembled
JOIN target_rows AS target USING (player_lookup, game_date)
JOIN team_calendar AS fixture
  ON fixture.team_abbr = target.team_abbr AND fixture.game_date = target.game_date
LEFT JOIN player_expectations AS expected USING (player_lookup, game_date)
LEFT JOIN missed USING (player_lookup, game_date)
LEFT JOIN of_team ON of_team.team_abbr = target.team_abbr AND of_team.game_date = target.game_date
LEFT JOIN of_absent AS own
  ON own.team_abbr = target.team_abbr
 AND own.game_date = target.game_date
 AND own.player_lookup = target.player_lookup;
