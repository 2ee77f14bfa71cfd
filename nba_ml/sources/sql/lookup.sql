-- A part: the canonical form of a player_lookup, as `data.identities` makes it, on every side of every join. Older rows
-- have stray case and dots. Accents are folded, not removed with their letter. Digits stay: they distinguish namesakes.
NULLIF(REGEXP_REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
  TRANSLATE(LOWER(NORMALIZE(player_lookup, NFKD)), 'łøđðı', 'loddi'), 'þ', 'th'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
  r'[^a-z0-9]', ''), '')
