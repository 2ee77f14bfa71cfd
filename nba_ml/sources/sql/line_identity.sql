-- A part: a digest of a line with its prices.
TO_HEX(MD5(TO_JSON_STRING(STRUCT(
  lines.universal_player_id, lines.player_lookup, lines.game_date, lines.book, lines.line, lines.over_price,
  lines.under_price
))))
