-- matched_lines: whose line each listed line is, or why it is nobody's, from `lines` and `summary`.
--
-- The id decides wherever a line has one. A name decides only where there is no id, and only if it is the
-- name of exactly one player: a line given to the wrong namesake is worse than no line. Names are those that
-- box scores used in the 3 years up to and including the date, so that no later game changes an earlier row.
-- The outcomes are those of LineOutcome in nba_ml/data/lines.py.
CREATE OR REPLACE TEMP TABLE matched_lines AS
WITH listed AS (
    SELECT * FROM lines WHERE game_date BETWEEN getvariable('first') AND getvariable('last')
),
box_scores AS MATERIALIZED (
    -- The lookup of the second of two namesakes ends in its id: the name is what comes before.
    SELECT universal_player_id, regexp_replace(player_lookup, '[0-9]+$', '') AS player_lookup, team_abbr, game_date
    FROM summary
    WHERE game_date <= getvariable('last')
),
team_days AS (
    SELECT DISTINCT team_abbr, game_date FROM box_scores WHERE game_date >= getvariable('first') - 1
),
names AS (
    SELECT
        listed.player_lookup,
        listed.game_date,
        list(DISTINCT box_scores.universal_player_id) AS bearers
    FROM (SELECT DISTINCT player_lookup, game_date FROM listed) AS listed
    JOIN box_scores
      ON box_scores.player_lookup = listed.player_lookup
     AND box_scores.game_date <= listed.game_date
     AND box_scores.game_date >= listed.game_date - INTERVAL 3 YEARS
    GROUP BY ALL
),
resolved AS (
    SELECT
        listed.* EXCLUDE (universal_player_id),
        listed.universal_player_id IS NOT NULL AS has_id,
        coalesce(listed.universal_player_id, CASE WHEN len(bearers) = 1 THEN bearers[1] END) AS universal_player_id,
        coalesce(len(bearers), 0) AS bearers_of_name,
        -- NULL bearers: nobody has that name, which is another spelling and no contradiction.
        has_id AND coalesce(NOT list_contains(bearers, listed.universal_player_id), false) AS named_otherwise
    FROM listed
    LEFT JOIN names USING (player_lookup, game_date)
)
SELECT
    resolved.universal_player_id,
    resolved.player_lookup,
    resolved.game_date,
    resolved.book,
    resolved.line,
    resolved.named_otherwise,
    CASE
        WHEN latest.game_date = resolved.game_date AND has_id THEN 'matched by id'
        WHEN latest.game_date = resolved.game_date THEN 'matched by name'
        WHEN NOT has_id AND bearers_of_name = 0 THEN 'name unknown'
        WHEN NOT has_id AND bearers_of_name > 1 THEN 'name ambiguous'
        WHEN latest.game_date IS NULL OR latest.game_date < resolved.game_date - INTERVAL 3 YEARS THEN 'id unknown'
        WHEN resolved.game_date > (SELECT max(game_date) FROM box_scores) THEN 'after the last box score'
        WHEN today.team_abbr IS NOT NULL THEN 'listed but did not play'
        WHEN yesterday.team_abbr IS NOT NULL THEN 'game the day before: dated by UTC?'
        ELSE 'no game of that date'
    END AS outcome
FROM resolved
-- The player's last game up to the date, the date included, says which team he is with.
ASOF LEFT JOIN box_scores AS latest
  ON latest.universal_player_id = resolved.universal_player_id
 AND latest.game_date <= resolved.game_date
LEFT JOIN team_days AS today
  ON today.team_abbr = latest.team_abbr AND today.game_date = resolved.game_date
LEFT JOIN team_days AS yesterday
  ON yesterday.team_abbr = latest.team_abbr AND yesterday.game_date = resolved.game_date - 1;
