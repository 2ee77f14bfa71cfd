-- assembled_reports: the columns of `assembled_careers`, and what the reports of the date say.
--
-- A team of which nothing was reported is not a team of which nobody is out: the first has NULL, the second 0.
CREATE OR REPLACE TEMP VIEW assembled_reports AS
WITH reporting AS (
    SELECT DISTINCT team_abbr, game_date FROM reports
),
of_team AS (
    SELECT team_abbr, game_date, sum(points_e6)::BIGINT AS points_e6, sum(plays_e6)::BIGINT AS plays_e6
    FROM reported_out
    GROUP BY team_abbr, game_date
)
SELECT
    assembled_careers.*,
    -- Without the player himself: if he has a row, he was not out after all.
    CASE WHEN reporting.team_abbr IS NOT NULL AND fixture.team_game > 1 THEN
        (coalesce(of_team.points_e6, 0) - coalesce(own.points_e6, 0)) / 1000000
    END AS out_points,
    CASE WHEN reporting.team_abbr IS NOT NULL AND fixture.team_game > 1 THEN
        (coalesce(of_team.plays_e6, 0) - coalesce(own.plays_e6, 0)) / 1000000
    END AS out_plays
FROM assembled_careers
JOIN target_rows AS target USING (player_lookup, game_date)
JOIN team_calendar AS fixture
  ON fixture.team_abbr = target.team_abbr AND fixture.game_date = target.game_date
LEFT JOIN reporting ON reporting.team_abbr = target.team_abbr AND reporting.game_date = target.game_date
LEFT JOIN of_team ON of_team.team_abbr = target.team_abbr AND of_team.game_date = target.game_date
LEFT JOIN reported_out AS own
  ON own.team_abbr = target.team_abbr
 AND own.game_date = target.game_date
 AND own.player_lookup = target.player_lookup;
