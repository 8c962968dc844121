"""The bytes of objects: one file per body, written once, synced before anyone may refer to it, never changed.

A body's id is a number: the epoch (one per start of the server that wrote anything) in its upper half and a counter in its
lower half. Its file is `<epoch>/<counter/256>/<counter>` in hexadecimal. So ids grow with time, a folder holds at most 256
files, and what a crash left behind can only lie in the folders of earlier epochs.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from batchyard.wire.checksums import Checksum

from .folders import sync, sync_folder
from .objects_checksums import in_base64, new_checksum

Answer = TypeVar("Answer")

SYNC_EVERY_BYTES = 16 * 1024 * 1024
COUNTER_BITS = 32


@dataclass(frozen=True, slots=True)
class WrittenBody:
    """A body that is on the disk for good: its id (0 when it is empty: then there is no file), its size in bytes, its MD5 in
    hexadecimal, and the checksums that were asked for (algorithm -> base64)."""

    body: int
    size: int
    md5: str
    checksums: dict[str, str]


class BodyFolder:
    """The folder of body files. Makes writers, opens files, removes files that nobody reads any more."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._gate = threading.RLock()  # a forgotten reader may let go in the midst of anything
        self._made: set[Path] = set()
        self._epoch = 0
        self._counter = 0
        self._readers: Counter[int] = Counter()

    def path(self, body: int) -> Path:
        """Where the file of `body` lies."""
        epoch, counter = divmod(body, 1 << COUNTER_BITS)
        return self._root / f"{epoch:x}" / f"{counter >> 8:06x}" / f"{counter:08x}"

    def writer(self, epoch: int, algorithms: Iterable[str]) -> BodyWriter:
        """A writer for one new body, which also computes the checksums of `algorithms`."""
        with self._lock:
            self._epoch = epoch
            self._counter += 1
            body = (epoch << COUNTER_BITS) | self._counter
        return BodyWriter(self, body, algorithms)

    def prepare(self, folder: Path) -> None:
        """Make `folder` (and what is above it) and sync the entries, so that a power cut cannot take the way to a body."""
        with self._lock:
            if folder in self._made:
                return
            for step in (self._root, folder.parent, folder):
                if step not in self._made:
                    step.mkdir(exist_ok=True)
                    sync_folder(step.parent)
                    self._made.add(step)

    def hold(self, lookup: Callable[[], tuple[Answer, list[int]]]) -> Answer:
        """Run `lookup`, which looks up bodies in the index, and hold them: `remove` leaves them until `let_go`.

        Lookup and hold are one step for `remove`: what is found in the index cannot be gone by the time it is opened.
        """
        with self._gate:
            answer, bodies = lookup()
            self._readers.update(bodies)
        return answer

    def let_go(self, bodies: Iterable[int]) -> None:
        """The reader of these bodies is done."""
        with self._gate:
            for body in bodies:
                self._readers[body] -= 1
                if self._readers[body] <= 0:
                    del self._readers[body]

    def remove(self, bodies: Iterable[int]) -> list[int]:
        """Delete the files of those `bodies` that nobody reads and return the ids of the deleted ones; the deletions are synced."""
        with self._gate:
            free = [body for body in bodies if body not in self._readers]
        folders = set()
        for body in free:
            path = self.path(body)
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in folders:
            self._tidy(folder)
        return free

    def _tidy(self, folder: Path) -> None:
        """Make the removals in `folder` durable. An empty one goes too, unless bodies are still being written in its epoch."""
        if folder.parent.name != f"{self._epoch:x}":
            for empty in (folder, folder.parent):
                try:
                    empty.rmdir()
                except OSError:  # not empty, or gone already
                    break
                folder = empty.parent
        if folder.exists():
            sync_folder(folder)

    def of_epoch(self, epoch: int) -> Iterator[list[int]]:
        """The ids of the files that lie in the folders of `epoch`, folder by folder."""
        top = self._root / f"{epoch:x}"
        if not top.is_dir():
            return
        for folder in sorted(top.iterdir()):
            yield [(epoch << COUNTER_BITS) | int(path.name, 16) for path in folder.iterdir()]


class BodyWriter:
    """Writes one body: `write` chunks, then `finish` (synced, for good) or `abandon` (gone), from any thread."""

    def __init__(self, folder: BodyFolder, body: int, algorithms: Iterable[str]) -> None:
        self._folder = folder
        self._body = body
        self._path = folder.path(body)
        self._file = -1
        self._unsynced = 0
        self._md5 = new_checksum("MD5")
        self._digests: dict[str, Checksum] = {name: new_checksum(name) for name in algorithms}
        self._lock = threading.Lock()
        self._over = False
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. The disk is synced along the way, so that no later sync of anyone has gigabytes to wait for."""
        if not chunk:
            return
        with self._lock:
            if self._over:
                raise ValueError("this body is finished or abandoned")
            self._append(chunk)
            if self._unsynced >= SYNC_EVERY_BYTES:
                _sync_bytes(self._file)
                self._unsynced = 0

    def finish(self) -> WrittenBody:
        """Sync the file and its folder; after this the body may be referred to."""
        with self._lock:
            self._over = True
            if self._file >= 0:
                sync(self._file)
                self._close()
                sync_folder(self._path.parent)
            checksums = {name: in_base64(digest) for name, digest in self._digests.items()}
            return WrittenBody(self._body if self.size else 0, self.size, self._md5.digest().hex(), checksums)

    def abandon(self) -> None:
        """Remove what was written; harmless when nothing was. Also right after `finish`, when nothing came to refer to the body."""
        with self._lock:
            self._over = True
            self._close()
            if self.size:
                self._path.unlink(missing_ok=True)

    def _append(self, chunk: bytes) -> None:
        if self._file < 0:
            self._folder.prepare(self._path.parent)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.size += len(chunk)
        self._unsynced += len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file, view) :]
        self._md5.update(chunk)
        for digest in self._digests.values():
            digest.update(chunk)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


_sync_bytes = getattr(os, "fdatasync", os.fsync)
