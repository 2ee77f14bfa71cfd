-- Whom a report made before the game would have named, by what box scores of the date show afterwards.
--
-- Everyone whose latest game of the season was one of the team's last ten, and who has no box score on the date, was on
-- the inactive list, unless the box score lists him as kept on the bench by the coach. That nobody knew before the game:
-- he is reported, and not out. Results are not read. A row without a player says that the team was reported on.
WITH calendar AS (
    SELECT
        season,
        team_abbr,
        game_date,
        row_number() OVER (PARTITION BY season, team_abbr ORDER BY game_date) AS team_game
    FROM (SELECT DISTINCT season, team_abbr, game_date FROM summary WHERE game_date <= getvariable('last'))
),
fixtures AS (
    SELECT *
    FROM calendar
    WHERE game_date BETWEEN getvariable('first') AND getvariable('last')
      AND game_date IN (SELECT game_date FROM listed)
),
appearances AS (
    SELECT
        player_lookup,
        universal_player_id,
        season,
        team_abbr,
        game_date,
        lead(game_date) OVER (PARTITION BY season, player_lookup ORDER BY game_date) AS next_date
    FROM summary
    WHERE game_date <= getvariable('last')
),
decided AS (
    SELECT DISTINCT player_id::VARCHAR AS universal_player_id, game_date
    FROM listed
    WHERE reason = 'did_not_play' AND player_id IS NOT NULL
)
SELECT
    fixtures.game_date,
    fixtures.team_abbr,
    appearances.player_lookup,
    decided.game_date IS NULL AS is_out
FROM fixtures
JOIN calendar AS latest
  ON latest.season = fixtures.season
 AND latest.team_abbr = fixtures.team_abbr
 AND fixtures.team_game BETWEEN latest.team_game + 1 AND latest.team_game + 10
JOIN appearances
  ON appearances.season = latest.season
 AND appearances.team_abbr = latest.team_abbr
 AND appearances.game_date = latest.game_date
LEFT JOIN decided
  ON decided.universal_player_id = appearances.universal_player_id AND decided.game_date = fixtures.game_date
WHERE appearances.next_date IS NULL OR appearances.next_date > fixtures.game_date
UNION ALL
SELECT game_date, team_abbr, NULL, false FROM fixtures
ORDER BY ALL;
