-- A part: the last capture of each player by each book, as `data.standing_lines` has it.
-- A row without an id is of the player whose id others have with its name on the date, if that is one id only.
SELECT *
FROM (
  SELECT
    *,
    COALESCE(
      universal_player_id,
      IF(
        line_lookup IS NOT NULL
          AND MIN(universal_player_id) OVER (PARTITION BY game_date, line_lookup)
            = MAX(universal_player_id) OVER (PARTITION BY game_date, line_lookup),
        MIN(universal_player_id) OVER (PARTITION BY game_date, line_lookup),
        line_lookup
      )
    ) AS line_player
  FROM (
    {rows}
  ) AS main_lines
) AS captures
WHERE TRUE
QUALIFY captured_at IS NULL OR captured_at = MAX(captured_at) OVER (PARTITION BY game_date, line_player, book)
