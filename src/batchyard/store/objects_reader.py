"""Reads an object as it was when it was opened, whatever happens to its key meanwhile."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from itertools import accumulate
from types import TracebackType

from .objects_bodies import BodyFolder
from .objects_records import ObjectRecord, Piece


class ObjectReader:
    """The bytes of one object: `record` says what it is, `pieces` where it lies. Close it; one that is forgotten closes itself."""

    def __init__(self, folder: BodyFolder, record: ObjectRecord, pieces: list[Piece]) -> None:
        self.record = record
        self.pieces = pieces
        self.bodies = [piece.body for piece in pieces if piece.body]
        self._folder = folder
        self._offsets = list(accumulate((piece.size for piece in pieces), initial=0))
        self._file = -1
        self._open_body = 0
        self._closed = False
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def offset_of(self, position: int) -> int:
        """Where the piece at `position` of `pieces` begins in the object, in bytes."""
        return self._offsets[position]

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`; fewer only at the end of the object. Raises `ValueError` when the reader is closed."""
        chunks = []
        with self._lock:
            if self._closed:
                raise ValueError("this reader is closed")
            while size > 0 and offset < self.record.size:
                at = bisect_right(self._offsets, offset) - 1
                piece = self.pieces[at]
                within = offset - self._offsets[at]
                chunk = os.pread(self._handle(piece.body), min(size, piece.size - within), within)
                if not chunk:
                    raise OSError(f"body {piece.body:x} is shorter than the index says")
                chunks.append(chunk)
                offset += len(chunk)
                size -= len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """Let go of the files; harmless when done before. Waits for a `read` under way in another thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        self._folder.let_go(self.bodies)

    def _handle(self, body: int) -> int:
        if body != self._open_body:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._file = os.open(self._folder.path(body), os.O_RDONLY | os.O_CLOEXEC)
            self._open_body = body
        return self._file
