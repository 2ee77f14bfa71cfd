-- Rows of `games` that break the rules which the windows rest on, as sentences, at most 5 of each rule.
(
    SELECT 'player ' || player_lookup || ' has ' || count(*) || ' rows on ' || game_date AS fault
    FROM games
    GROUP BY player_lookup, game_date
    HAVING count(*) > 1
    ORDER BY game_date, player_lookup
    LIMIT 5
)
UNION ALL
(
    SELECT 'game ' || game_id || ' has rows of ' || string_agg(DISTINCT team_abbr, ' and ' ORDER BY team_abbr)
        || ' against ' || string_agg(DISTINCT opponent_team_abbr, ' and ' ORDER BY opponent_team_abbr)
    FROM games
    GROUP BY game_id
    -- Two teams, each the other's opponent, on one date of one season.
    HAVING count(DISTINCT team_abbr) <> 2
        OR count(DISTINCT (team_abbr, opponent_team_abbr, team_won, game_date, season)) <> 2
        OR list(DISTINCT team_abbr ORDER BY team_abbr)
            <> list(DISTINCT opponent_team_abbr ORDER BY opponent_team_abbr)
    ORDER BY game_id
    LIMIT 5
)
UNION ALL
(
    SELECT team_abbr || ' plays ' || count(DISTINCT game_id) || ' games on ' || game_date
    FROM games
    GROUP BY team_abbr, game_date
    HAVING count(DISTINCT game_id) > 1
    ORDER BY game_date, team_abbr
    LIMIT 5
);
