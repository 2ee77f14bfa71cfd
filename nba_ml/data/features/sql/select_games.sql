-- games: the box scores that the requested dates can depend on, from `summary`.
--
-- Nothing after the last date is read, so that whatever else the caller holds cannot change a row.
-- Seasons are whole: season-to-date, team and league windows need them from their opening game on.
-- The 30 days before the first date are there in any season, for the two 30-day features.
CREATE OR REPLACE TEMP TABLE games AS
SELECT
    player_lookup,
    universal_player_id,
    game_date,
    game_id,
    season,
    playoffs,
    team_abbr,
    opponent_team_abbr,
    is_home,
    neutral_site,
    team_won,
    minutes_played,
    points,
    fg_makes,
    fg_attempts,
    three_pt_makes,
    three_pt_attempts,
    ft_makes,
    offensive_rebounds,
    turnovers,
    -- Plays a player ends (FGA + 0.44 FTA + TOV), in hundredths: an integer, so that sums are exact
    -- and do not depend on the order in which threads deliver the rows.
    100 * fg_attempts::INTEGER + 44 * ft_attempts::INTEGER + 100 * turnovers::INTEGER AS plays_x100
FROM summary
WHERE game_date <= getvariable('last')
  AND (
      game_date >= getvariable('first') - 30
      OR season IN (
          SELECT DISTINCT season FROM summary
          WHERE game_date BETWEEN getvariable('first') AND getvariable('last')
      )
  );
