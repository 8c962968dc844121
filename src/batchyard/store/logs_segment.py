"""What a server remembers of a log segment, so that looking for an end or a time does not read the whole file each time."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from batchyard.store.logs import (
    AROUND,
    HEAD,
    Entry,
    Header,
    entries,
    entries_back,
    header,
    opened,
)

POINT_EVERY_BYTES = 65_536
_HOP_BYTES = 262_144


class Segment:
    """One segment as readers see it; safe to use from many threads. Every verb raises FileNotFoundError if the file is gone.

    What is kept: how far the file is known to be sound, its first and last time, and for each 64 KiB one offset with its time.
    The file only grows at its end while that is kept; a file that shrank or was replaced is looked at anew.
    """

    __slots__ = ("_about", "_end", "_first_ms", "_hopped", "_inode", "_last_ms", "_lock", "_offsets", "_times", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._forget(0)

    def _forget(self, inode: int) -> None:
        self._inode = inode
        self._about: Header | None = None
        self._end = 0
        self._first_ms: int | None = None
        self._last_ms: int | None = None
        self._offsets: list[int] = []
        self._times: list[int] = []
        self._hopped = 0

    def about(self) -> Header | None:
        """The segment's header; None while its writer has not finished it."""
        with opened(self.path) as descriptor, self._lock:
            self._look(descriptor)
            return self._about

    def span_ms(self) -> tuple[int, int] | None:
        """The times of the first and the last event; None without any."""
        with self._lock:
            state = self.path.stat()
            if state.st_ino != self._inode or state.st_size != self._end:
                with opened(self.path) as descriptor:
                    self._look(descriptor)
            return None if self._first_ms is None or self._last_ms is None else (self._first_ms, self._last_ms)

    def end(self) -> int:
        """Where the last sound frame ends."""
        with opened(self.path) as descriptor, self._lock:
            return self._look(descriptor)

    def offset_at(self, timestamp_ms: int) -> int:
        """Where the first event of that time or later begins; the end if there is none."""
        with opened(self.path) as descriptor, self._lock:
            end = self._look(descriptor)
            if self._about is None or self._first_ms is None or self._last_ms is None or timestamp_ms <= self._first_ms:
                return self._about.end if self._about else 0
            if timestamp_ms > self._last_ms:
                return end
            self._hop(descriptor, end, timestamp_ms)
            nearest = bisect_left(self._times, timestamp_ms) - 1
            start = self._offsets[nearest] if nearest >= 0 else self._about.end
        with opened(self.path) as descriptor:
            for entry in entries(descriptor, start):
                if entry.timestamp_ms >= timestamp_ms:
                    return entry.offset
        return end

    def after(self, offset: int, limit: int, bytes_max: int) -> list[Entry]:
        """The events from `offset` on, oldest first, until there are `limit` of them or `bytes_max` bytes of messages."""
        with opened(self.path) as descriptor:
            return _until(islice(entries(descriptor, offset), limit), bytes_max)

    def before(self, offset: int, limit: int, bytes_max: int) -> list[Entry]:
        """The events that end at or before `offset`, newest first, until there are `limit` of them or `bytes_max` bytes of messages."""
        with opened(self.path) as descriptor:
            with self._lock:
                end = self._look(descriptor)
                floor = self._about.end if self._about else 0
            if not floor:
                return []
            return _until(islice(entries_back(descriptor, min(offset, end), floor), limit), bytes_max)

    def _look(self, descriptor: int) -> int:
        """Bring what is remembered up to date; where the last sound frame ends."""
        state = os.fstat(descriptor)
        if state.st_ino != self._inode or state.st_size < self._end:
            self._forget(state.st_ino)
        if self._about is None:
            self._about = header(descriptor)
            if self._about is None:
                return 0
            self._end = self._hopped = self._about.end
        if state.st_size == self._end:
            return self._end
        last = next(entries_back(descriptor, state.st_size, self._end), None)
        if last is None:
            # A write is under way, or its tail is torn: go forward from what is known to be sound.
            for last in entries(descriptor, self._end):
                self._end = last.end
        if last is not None:
            self._end, self._last_ms = last.end, last.timestamp_ms
            if self._first_ms is None:
                self._first_ms = next(entries(descriptor)).timestamp_ms
        return self._end

    def _hop(self, descriptor: int, end: int, until_ms: int) -> None:
        """Extend the points from frame to frame, without a look at the messages, up to the first one that is late enough."""
        while self._hopped < end and not (self._times and self._times[-1] >= until_ms):
            base = self._hopped
            chunk = os.pread(descriptor, min(_HOP_BYTES, end - base), base)
            at, point_at = 0, self._offsets[-1] + POINT_EVERY_BYTES if self._offsets else base
            while at + HEAD.size <= len(chunk):
                length, _, timestamp_ms = HEAD.unpack_from(chunk, at)
                if base + at >= point_at:
                    self._offsets.append(base + at)
                    self._times.append(timestamp_ms)
                    point_at = base + at + POINT_EVERY_BYTES
                at += length + AROUND
            if not at:
                return
            self._hopped = base + at


def _until(found: Iterator[Entry], bytes_max: int) -> list[Entry]:
    taken: list[Entry] = []
    size = 0
    for entry in found:
        taken.append(entry)
        size += len(entry.message)
        if size >= bytes_max:
            break
    return taken
