-- assembled: one row per target row, one column per feature, by name and unrounded.
--
-- The order of the vector is not decided here: the contract decides it. NULL is a missing value
-- and becomes NaN in the vector; nothing is filled with a typical value.
CREATE OR REPLACE TEMP VIEW assembled AS
WITH openings AS (
    SELECT season, min(game_date) AS opening_date FROM games GROUP BY season
),
matched AS (
    SELECT
        target.*,
        form.*     EXCLUDE (player_lookup, game_date),
        shots.*    EXCLUDE (player_lookup, game_date),
        usage.*    EXCLUDE (player_lookup, game_date),
        workload.* EXCLUDE (player_lookup, game_date),
        team.*     EXCLUDE (team_abbr, game_date, days_rest),
        opponent.* EXCLUDE (team_abbr, game_date),
        lines.vegas_points_line,
        versus.games_vs_opponent,
        versus.avg_points_vs_opponent,
        -- A team without an earlier game this season counts as 7 days rested.
        coalesce(team.days_rest, 7) - coalesce(opponent_team.days_rest, 7) AS rest_difference,
        -- Positive: this opponent allows more in the player's main zone than the league does.
        CASE WHEN shots.mainly_threes
            THEN opponent.three_pct_allowed - league.league_three_pct
            WHEN NOT shots.mainly_threes
            THEN opponent.two_pct_allowed - league.league_two_pct
        END AS zone_difference,
        target.game_date < openings.opening_date + getvariable('early_season_days') AS early_season_flag
    FROM target_rows AS target
    JOIN openings USING (season)
    LEFT JOIN player_form AS form
      ON form.player_lookup = target.player_lookup AND form.game_date = target.previous_date
    LEFT JOIN player_shots AS shots
      ON shots.player_lookup = target.player_lookup AND shots.game_date = target.previous_date
    LEFT JOIN player_usage AS usage
      ON usage.player_lookup = target.player_lookup AND usage.game_date = target.previous_date
    JOIN player_workload AS workload
      ON workload.player_lookup = target.player_lookup AND workload.game_date = target.game_date
    JOIN team_ratings AS team
      ON team.team_abbr = target.team_abbr AND team.game_date = target.game_date
    JOIN team_ratings AS opponent_team
      ON opponent_team.team_abbr = target.opponent_team_abbr AND opponent_team.game_date = target.game_date
    JOIN opponent_ratings AS opponent
      ON opponent.team_abbr = target.opponent_team_abbr AND opponent.game_date = target.game_date
    JOIN league_zones AS league
      ON league.season = target.season AND league.game_date = target.game_date
    LEFT JOIN player_lines AS lines
      ON lines.universal_player_id = target.universal_player_id AND lines.game_date = target.game_date
    LEFT JOIN player_versus_opponent AS versus
      ON versus.player_lookup = target.player_lookup AND versus.game_date = target.game_date
)
SELECT
    player_lookup,
    universal_player_id,
    game_date,
    game_id,
    opponent_team_abbr,
    is_home,
    days_rest,
    early_season_flag,
    -- Ready to be predicted on: the season has settled, and form and both teams' ratings are there.
    NOT early_season_flag
        AND points_avg_last_10 IS NOT NULL
        AND opponent_def_rating IS NOT NULL
        AND team_off_rating IS NOT NULL AS is_production_ready,

    -- Form
    points_avg_last_5,
    points_avg_last_10,
    points_avg_season,
    points_std_last_10,
    usage_spike_score,
    coalesce(recent_trend, 0)   AS recent_trend,
    coalesce(minutes_change, 0) AS minutes_change,
    ppm_avg_last_10,

    -- Workload
    games_in_last_7_days,
    fatigue_score,
    minutes_avg_last_10,

    -- Matchup
    CASE WHEN abs(zone_difference) > 5
        THEN 1.2::DOUBLE * clamp(zone_difference, 10)
        ELSE zone_difference
    END                                       AS shot_zone_mismatch_score,
    clamp((opponent_pace - team_pace) / 2, 3) AS pace_score,
    clamp(rest_difference, 2)                 AS rest_advantage,

    -- Status, shot profile: injury reports and shot zones are not in box scores
    NULL::DOUBLE AS injury_risk,
    NULL::DOUBLE AS pct_paint,
    NULL::DOUBLE AS pct_mid_range,
    pct_three,
    pct_free_throw,

    -- Opponent and team
    opponent_def_rating,
    opponent_pace,
    team_pace,
    team_off_rating,
    team_win_pct,
    avg_points_vs_opponent,
    coalesce(games_vs_opponent, 0) AS games_vs_opponent,

    -- Game
    (is_home AND NOT neutral_site)::INTEGER AS home_away,
    back_to_back,
    playoffs::INTEGER                       AS playoff_game,

    -- Line: opening lines are not in this source, so neither is the move
    vegas_points_line,
    NULL::DOUBLE                              AS vegas_opening_line,
    NULL::DOUBLE                              AS vegas_line_move,
    (vegas_points_line IS NOT NULL)::INTEGER  AS has_vegas_line
FROM matched;
