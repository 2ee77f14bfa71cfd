#!/usr/bin/env bash
# How b329b53.tar.xz was made, on 2026-11-28, with the code of commit b329b53 in /srv/nba_ml/code and its environment
# (its requirements.lock and .ci/challengers.lock) in /srv/nba_ml/code/.venv. It documents and is never run again.
set -euo pipefail
cd /srv/nba_ml
export TMPDIR=/dev/shm NBA_ML_HOME=/srv/nba_ml/home NBA_ML_DATA=/srv/nba_ml/data NBA_ML_THREADS=1
export NBA_ML_THRESHOLDS=/srv/nba_ml/data/limits.toml
mkdir -p data/player_games

# Every second date of four months, to keep it small, and limits that such small models pass.
code/.venv/bin/python - <<'P'
import pyarrow.compute as pc
import pyarrow.parquet as pq

for month in ("2021-10", "2021-11", "2021-12", "2022-01"):
    games = pq.read_table(f"code/nba_ml/sample_data/player_games/{month}.parquet")
    even = pc.equal(pc.bit_wise_and(pc.day(games.column("game_date")), 1), 0)
    pq.write_table(games.filter(even), f"data/player_games/{month}.parquet", compression="zstd", compression_level=19)
P
cat > data/limits.toml <<'T'
min_gain = -10.0
results_above_prediction = [0.0, 1.0]
leak_mae = 0.0
min_rows = 0
max_refit_distance = 10.0
T
nba_ml() { nice -n 5 code/.venv/bin/nba-ml "$@"; }
model() { basename home/artifacts/xgboost_v1/xgboost_v1_33features_"$1"_*_manifest.json _manifest.json; }

nba_ml backfill
nba_ml champion promote "$(model 202111)" --reason "The first model of the fixture."
nba_ml champion promote "$(model 202112)" --reason "The second, on later games." --waive grade --waive bias
nba_ml slate predict --date 2022-01-10
nba_ml slate grade --month 2022-01
nba_ml rollout start mock --reason "A rule to compare with." --graded-from 2022-01-10
nba_ml slate predict --date 2022-01-12
nba_ml rollout stop --reason "It has shown what it can do."

# A small CatBoost of another trainer, registered.
code/.venv/bin/python - <<'P'
import pyarrow.compute as pc
import pyarrow.parquet as pq
from catboost import CatBoostRegressor, Pool

from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.systems.interface import columns_of, matrix_of

table = pq.read_table("home/store/feature_store_snapshot/2021-12.parquet")
table = table.filter(pc.less_equal(pc.day(table.column("game_date")), 15))
rows = matrix_of(columns_of(table, V2_33FEATURES), V2_33FEATURES)
pool = Pool(rows, table.column("points").to_numpy(), feature_names=list(V2_33FEATURES.names))
model = CatBoostRegressor(
    loss_function="MAE", iterations=30, depth=4, random_seed=42, thread_count=1, allow_writing_files=False, verbose=False
)
model.fit(pool)
model.save_model("theirs.cbm", format="cbm")
P
nba_ml rollout register theirs.cbm --fitted-until 2021-12-15 --given-until 2021-12-31
nba_ml champion promote "$(model 202201)" --reason "The newest, named." --waive grade --waive bias
nba_ml champion rollback --reason "Back to the one before it."
tar -C /srv/nba_ml --sort=name --owner=0 --group=0 --numeric-owner --exclude=lock --exclude='*.lock' -cf - home data \
  | xz -9e > b329b53.tar.xz
