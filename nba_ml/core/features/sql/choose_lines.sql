-- player_lines: one points line per player and date, from `lines`.
--
-- An app may list a player several times on a date, hence the median within a book; books differ,
-- hence the median over books. Opening lines and times of snapshots are not in this source.
CREATE OR REPLACE TEMP TABLE player_lines AS
WITH per_book AS (
    SELECT player_lookup, game_date, book, median(line) AS line
    FROM lines
    WHERE game_date BETWEEN getvariable('first') AND getvariable('last')
    GROUP BY ALL
)
SELECT player_lookup, game_date, median(line) AS vegas_points_line
FROM per_book
GROUP BY ALL;
