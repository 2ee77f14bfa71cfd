-- target_rows: the rows to describe, with nothing in them that is not known before tip-off.
--
-- previous_date is the player's last game of the season STRICTLY BEFORE the date. Every player
-- feature of the season (form, usage, shots) is the state after that game, looked up by this key:
-- this comparison is the one place that keeps a game out of its own form.
CREATE OR REPLACE TEMP TABLE target_rows AS
SELECT
    game.player_lookup,
    game.universal_player_id,
    game.game_date,
    game.game_id,
    game.season,
    game.playoffs,
    game.team_abbr,
    game.opponent_team_abbr,
    game.is_home,
    game.neutral_site,
    earlier.game_date AS previous_date,
    -- 0 on the second day of a back-to-back; NULL before the first game of the season.
    game.game_date - earlier.game_date - 1 AS days_rest
FROM games AS game
ASOF LEFT JOIN history AS earlier
  ON earlier.player_lookup = game.player_lookup
 AND earlier.season = game.season
 AND earlier.game_date < game.game_date
WHERE game.game_date BETWEEN getvariable('first') AND getvariable('last');
