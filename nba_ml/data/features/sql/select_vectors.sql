-- The rows of the feature store: keys, then the features by the contract's names in its order.
SELECT
    player_lookup,
    universal_player_id,
    game_date,
    game_id,
    opponent_team_abbr,
    is_home,
    days_rest,
    early_season_flag,
    is_production_ready,
    {feature_columns}
FROM assembled
ORDER BY game_date, player_lookup;
