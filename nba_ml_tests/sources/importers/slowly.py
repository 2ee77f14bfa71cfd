"""`nba-ml` with a pause after every file that it writes, for a kill to come in between."""

from __future__ import annotations

import time

from nba_ml.cli.main import main
from nba_ml.storage.directory import DirectoryStore


class _Slow(DirectoryStore):
    def write(self, name: str, data: bytes) -> None:
        super().write(name, data)
        time.sleep(0.3)


if __name__ == "__main__":
    from nba_ml.sources.importers import importing

    vars(importing)["DirectoryStore"] = _Slow
    main()
