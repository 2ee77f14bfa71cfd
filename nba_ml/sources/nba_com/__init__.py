"""Box scores, schedule and rosters from the API of nba.com, through the same import as files."""
