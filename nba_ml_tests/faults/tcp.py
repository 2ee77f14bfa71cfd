"""A relay in front of a server that breaks connections: for gRPC, whose answers are not single HTTP messages."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class BreakingRelay:
    """Relays bytes to `upstream` (host:port); each of the next connections breaks after so many bytes of answer.

    `breaks` is used up from the front: a number resets that connection once as many bytes came back (0: at once).
    With `silently` it stays open instead, and nothing more comes, as from a host that lost its network.
    """

    def __init__(self, upstream: str, *, silently: bool = False) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.breaks: list[int] = []
        self.broken = 0
        self.connections = 0
        self._silently = silently
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[BreakingRelay]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed: the block ended
                return
            self.connections += 1
            limit = self.breaks.pop(0) if self.breaks else None
            server = socket.create_connection(self._upstream)
            threading.Thread(target=self._copy, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, limit), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        with suppress(OSError):
            passed = 0
            while limit is None or passed < limit:
                data = source.recv(65536 if limit is None else min(65536, limit - passed))
                if not data:
                    break
                target.sendall(data)
                passed += len(data)
            else:
                self.broken += 1
                if self._silently:
                    self._ended.wait()
                target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # or the other direction's thread would keep it open
            with suppress(OSError):
                end.close()
