"""A process that reads a month as production does: what the fault tests start, to see that it ends.

The Storage Read API's client is made by the connection's own branch for Google's service; only its channel is led
to another address, for want of Google here.
"""

from __future__ import annotations

import sys

import grpc
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from nba_ml.contract.errors import SourceDataError
from nba_ml.sources.bigquery import BigQueryFeatureSource
from nba_ml.sources.bigquery_connection import BigQueryConnection

UNREAD = 7
"""Exit code: the month could not be read, and that was said."""


def main(project: str, rest: str, storage: str, features: str, summary: str, month: str, seconds: str) -> int:
    """Read the month, within so many seconds."""

    def led_elsewhere(*_: object, **__: object) -> grpc.Channel:
        return grpc.insecure_channel(storage, options=[("grpc.max_receive_message_length", -1)])

    BigQueryReadGrpcTransport.create_channel = led_elsewhere  # type: ignore[method-assign]
    connection = BigQueryConnection(project=project, endpoint=f"http://{rest}", deadline_seconds=float(seconds))
    try:
        BigQueryFeatureSource(connection=connection, feature_table=features, summary_table=summary).read(month)
    except SourceDataError as error:
        print(error, flush=True)
        return UNREAD
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
