"""Every limit of the HTTP service, with its reason. `connections` and `requests` keep them.

A client is an address. Together the limits bound what all clients can make the service hold in memory at once, about
100 MB, and leave it able to answer `/health` while they try.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request, a connection and a client may be.

    A slate of 450 players, the largest evening of a season, is half a megabyte.
    """

    body_bytes: int = 4 * 2**20
    """Of a request's body, without its framing."""

    rows: int = 1_000
    """Of a slate."""

    slates: int = 64
    """That may wait for the thread that answers them; it takes some 20 milliseconds for each."""

    explained_rows: int = 20
    """Of a slate with `?explain=1`: each takes XGBoost some milliseconds."""

    explaining: int = 8
    """Requests with `?explain=1` that may wait for the thread that answers them."""

    values_per_row: int = 100
    """Values that a body may hold, for each row of the largest slate: a row has 36, and parsed each takes some 200
    bytes, so that 4 MB of the smallest values would become more than 100."""

    head_bytes: int = 16 * 2**10
    """Of a request line and headers, and of trailers. The usual are a few hundred; Node's and hypercorn's limit."""

    headers: int = 100
    """Fields of a head and trailers together: each takes 150 bytes, however short. Apache's and gunicorn's limit."""

    framing_bytes: int = 512 * 2**10
    """Sizes, extensions and line ends of chunks."""

    chunks: int = 2_048
    """Of a body: two for each row of the largest slate. Each takes the parser 2 microseconds, so that the chunks of all
    connections of a client, read at once, take less than a second."""

    pipelined: int = 8
    """Requests that wait while another one of their connection is answered. Hardly any client sends even one."""

    small_body_bytes: int = 32 * 2**10
    """A body up to this is always taken, and answered on the event loop: it takes about a millisecond."""

    large_bodies_bytes: int = 32 * 2**20
    """Of all larger bodies at once; one client may have half of it. Beyond it the answer is 503."""

    unread_bytes: int = 32 * 2**20
    """Of all answers that wait for their readers; beyond it those who have waited longest are disconnected."""

    kernel_bytes: int = 128 * 2**10
    """That the kernel may keep of a connection in each direction (Linux doubles it). By itself it keeps 4 MB and more
    for a reader who never reads, and a container's memory limit counts that."""

    head_seconds: float = 10.0
    """From the opening of a connection, or the first byte of a further request, until the head is complete."""

    body_seconds: float = 10.0
    """From the head until the body is complete."""

    idle_seconds: int = 75
    """Between two requests of a connection: longer than the 60 seconds after which proxies close one by default, so
    that none sends a request to a connection that is being closed."""

    write_seconds: float = 10.0
    """Until a client has taken what was written to it: the largest answer has half a megabyte."""

    client_connections: int = 256
    """Of one client; a proxy is one. Beyond it, those of its connections that have waited longest for it are closed."""

    connections: int = 1_000
    """Of all clients; beyond it the client with the most loses those that have waited longest."""

    burst_connections: int = 2_000
    """Connections are counted every `SWEEP_SECONDS`, so that no burst of new ones closes the monitor's before it is
    read; beyond this number, at once."""


SWEEP_SECONDS = 0.2
"""Between two looks at all connections: a tenth of a millisecond for a hundred of them."""

TRIM_SECONDS = 5.0
"""At least, between two times that memory is given back during a flood."""

SWITCH_SECONDS = 0.0005
"""After which the thread that answers slates lets the event loop go on, if it has to: Python's own 5 ms, for each of a
hundred connections, hold `/health` up for half a second."""

ACCEPTING_PASSES = 32
"""Of the event loop, and so connections accepted, before the next request is answered: with fewer, a thousand new
connections a second fill the kernel's queue, and it makes others wait a second before they try again."""
