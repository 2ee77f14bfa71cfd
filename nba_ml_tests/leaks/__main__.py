"""`python -m nba_ml_tests.leaks`: runs all drills, prints their table, and writes it to drills.md."""

from __future__ import annotations

from nba_ml_tests.leaks.drills import TABLE, table

if __name__ == "__main__":
    lines = []
    for line in table():
        print(line, flush=True)
        lines.append(line)
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
