-- player_usage: whether a player ends more of his team's plays lately, after each game.
--
-- Usage of a game, percent = 100 x plays x (team minutes / 5) / (minutes x team plays): the usual
-- usage rate, with plays = FGA + 0.44 FTA + TOV. Kept as an integer count of billionths of a
-- percent, because sums of floats would depend on the order of addition.
-- Expected usage is the mean of the last 3 games, against the mean of the last 7 there are.
CREATE OR REPLACE TEMP TABLE player_usage AS
WITH per_game AS (
    SELECT
        history.player_lookup,
        history.season,
        history.game_date,
        history.games_played,
        round(
            1e9 * 100 * (history.plays_x100 * team.minutes)
            / (5 * history.minutes_played * team.plays_x100)
        )::BIGINT AS usage_e9
    FROM history
    JOIN team_games AS team
      ON team.game_id = history.game_id AND team.team_abbr = history.team_abbr
),
means AS (
    SELECT
        player_lookup,
        game_date,
        games_played,
        sum(usage_e9) OVER newest_3 / 3                      AS newest_3_e9,
        sum(usage_e9) OVER newest_7 / least(games_played, 7) AS newest_7_e9
    FROM per_game
    WINDOW
        newest_3 AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS 2 PRECEDING),
        newest_7 AS (PARTITION BY player_lookup, season ORDER BY game_date ROWS 6 PRECEDING)
)
SELECT
    player_lookup,
    game_date,
    CASE WHEN games_played >= 3 THEN
        clamp(0.3::DOUBLE * (newest_3_e9 - newest_7_e9) / 1e9, 3)
    END AS usage_spike_score
FROM means;
