"""How much nba_ml reads of a file or an object, and what a model file may take to load. Larger is refused unread.

Also how many rows are trained at once.

Far above what real ones have, which each docstring states. The HTTP service's own limits are in
`serving.http.limits`, the checks' in `contract.thresholds`.
"""

from __future__ import annotations

import re

from nba_ml.contract.systems import SYSTEMS

MODEL_BYTES = 32 * 2**20
"""Of a model file. Ours have 1.4 MB, CatBoost's of the platform 2 MB."""

TREES = 20_000
"""Of a model. Ours have 200."""

TREE_DEPTH = 64
"""Levels of a tree; a power of two. Ours have 6, and the deepest that can be configured 16."""

TRIAL_MEMORY_BYTES = 4 * 2**30
"""Address space of the process that loads a model first, on one core. It takes 0.6 GB with XGBoost and LightGBM and 1.8
with CatBoost, and uses 150 MB of that."""

TRIAL_CPU_SECONDS = 120
"""Processor time of that process. It takes 1 to 3 seconds."""

STATE_BYTES = 2**20
"""Of a channel's pointer or a state in its history. They have 1 kB."""

SIGNATURE_BYTES = 4096
"""Of a signature, or of the file of a private key. They have 300 bytes."""

MANIFEST_BYTES = 4 * 2**20
"""Of a manifest. They have 90 kB, most of it the verdict's checks."""

RECORD_BYTES = 4 * 2**20
"""Of the record that is published with a model. It has 30 kB."""

OBJECT_BYTES = 256 * 2**20
"""Of any other object of a store: a month's tables and reports, slates. The largest have 2 MB."""

TEXT_BYTES = 2**20
"""Of a file of settings: limits in TOML, a mapping of an import, a policy for missing values."""

DATA_BYTES = 512 * 2**20
"""Of a file of data: box scores, lines, a schedule, a file to import, also after unzipping. A month has 1 MB, all
seasons since 1947 some 100."""

PARQUET_ROWS = 20_000_000
"""Of a Parquet file, as its footer states. All seasons since 1947 have 1.5 million rows of box scores."""

PARQUET_MEMORY_BYTES = 4 * 2**30
"""Of a Parquet file's columns before compression, as its footer states."""

PAGED_ROWS = 1_000_000
"""Rows of a training: more are trained by pages (`model.paged`), which is another recipe. It depends on the rows alone,
so that every machine trains the same model. The four shipped seasons have 102,000. In memory, the recipe for fewer
takes 1 kB a row."""


_SIGNATURE = re.compile(r"_signature_[0-9a-f]{12}\.json$")


def object_limit(name: str) -> int:
    """The most bytes that an object of a store may have, by its name."""
    folder, _, file = name.rpartition("/")
    if folder.endswith("channels/signatures") or _SIGNATURE.search(file):
        return SIGNATURE_BYTES
    if "channels" in folder.split("/"):
        return STATE_BYTES
    if file.endswith("_manifest.json"):
        return MANIFEST_BYTES
    if file.endswith("_metadata.json"):
        return RECORD_BYTES
    if folder == "boosters" or folder.endswith(_MODEL_FOLDERS):
        return MODEL_BYTES
    return OBJECT_BYTES


_MODEL_FOLDERS = (*SYSTEMS, "catboost_v8", "xgboost_registered", "lightgbm_registered")
