"""Deflate a stream in independent parts, on several threads: the bytes are the same with any number of them."""

from __future__ import annotations

import zlib
from collections import deque
from concurrent.futures import Executor, Future

#: an empty last block
END = b"\x03\x00"
#: higher levels take longer than many a run
LEVEL = 1


class DeflatedParts:
    """A compressor like those of `zlib.compressobj`, of raw deflate (RFC 1951), for `zipfile`'s member that is written.

    Parameters
    ----------
    pool : Executor
        That compresses.
    ahead : int
        Parts that are held in memory.
    """

    def __init__(self, pool: Executor, ahead: int) -> None:
        self._pool, self._ahead = pool, ahead
        self._parts: deque[Future[bytes]] = deque()

    def compress(self, data: bytes) -> bytes:
        """Take a part, and return what is ready of those before it."""
        self._parts.append(self._pool.submit(_deflated, data))
        return b"".join(self._parts.popleft().result() for _ in range(len(self._parts) - self._ahead))

    def flush(self) -> bytes:
        """Return the rest."""
        found = b"".join(part.result() for part in self._parts)
        self._parts.clear()
        return found + END


def _deflated(data: bytes) -> bytes:
    """Blocks that are not the last, and end at a whole byte."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
