-- player_lines: one points line per player and date, from `matched_lines`.
--
-- An app may list a player several times on a date, hence the median within a book; books differ,
-- hence the median over books. Lines are one player's by his id, however each of them spells his name.
-- Opening lines and times of snapshots are not in this source.
CREATE OR REPLACE TEMP TABLE player_lines AS
WITH per_book AS (
    SELECT universal_player_id, game_date, book, median(line) AS line
    FROM matched_lines
    WHERE outcome IN ('matched by id', 'matched by name')
    GROUP BY ALL
)
SELECT universal_player_id, game_date, median(line) AS vegas_points_line
FROM per_book
GROUP BY ALL;
