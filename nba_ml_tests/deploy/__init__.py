"""What `deploy/` describes: Dagster on Postgres, runs side by side, images and manifests."""
