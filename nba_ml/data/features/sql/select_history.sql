-- history: the games that count for a player, numbered within his season.
--
-- A row with 0 whole minutes gets features, but is nobody's history.
-- A season's history spans teams: a traded player brings his games along.
-- Only players with a row in the requested dates: a single month then costs what it holds.
CREATE OR REPLACE TEMP TABLE history AS
SELECT
    player_lookup,
    game_date,
    game_id,
    season,
    team_abbr,
    minutes_played,
    points,
    fg_attempts,
    three_pt_attempts,
    ft_makes,
    plays_x100,
    row_number() OVER (PARTITION BY player_lookup, season ORDER BY game_date) AS games_played
FROM games
WHERE minutes_played > 0
  AND player_lookup IN (
      SELECT player_lookup FROM games
      WHERE game_date BETWEEN getvariable('first') AND getvariable('last')
  );
