"""The object store: buckets, objects and uploads on the local disk. This is the door to the rest of `store/objects_*.py`.

Synchronous and usable from any thread; what touches the disk blocks. An acknowledged change survives `kill -9` and a power cut: a
body is synced before the index refers to it, and the index is synced before anyone hears of it.

    ROOT/lock           held while a server has the folder open
    ROOT/index.sqlite   buckets, objects and old versions (key -> manifest), manifests (pieces), uploads, garbage
    ROOT/bodies/        one file per piece
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import apsw

from . import objects_keys as keys
from .folders import make_folder
from .objects_bodies import BodyFolder, BodyWriter
from .objects_ledger import Ledger
from .objects_reader import ObjectReader
from .objects_reaper import Reaper
from .objects_records import Bucket, ObjectRecord, Piece
from .objects_versions import find_object

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")

# what may be in flight at once: bytes being hashed, written, read and synced; questions to the index
DISK_WORKERS = 4
INDEX_WORKERS = 2


class StoreInUse(Exception):
    """Another process has this object store open."""


class ObjectStore:
    """The store in the folder `root`, made when missing; `region` is where buckets are when nobody says where."""

    def __init__(self, root: Path, region: str = "us-east-1", now_ms: Callable[[], int] | None = None) -> None:
        self.region = region
        self.now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        make_folder(root)
        self._lock_file = _hold(root)
        self._ledger = Ledger(root / "index.sqlite")
        self._bodies = BodyFolder(root / "bodies")
        self._reaper = Reaper(self._ledger, self._bodies)
        # Two locks: whoever makes the epoch waits for the ledger, and changes in the ledger ask for manifests.
        self._epoch_gate, self._manifest_gate = threading.Lock(), threading.Lock()
        self._manifest = self._ledger.ask(keys.highest_manifest)
        self._epoch = 0
        self._disk = ThreadPoolExecutor(DISK_WORKERS, thread_name_prefix="objects-disk")
        self._questions = ThreadPoolExecutor(INDEX_WORKERS, thread_name_prefix="objects-index")
        self.logging_changed: Callable[[], None] = lambda: None
        """To be called when buckets may log elsewhere than before; who writes access logs hangs itself in here."""

    def change(self, change: Callable[[apsw.Connection], Answer]) -> Future[Answer]:
        """Run `change` (functions of `objects_keys`, `objects_versions`, `objects_uploads`) in the next commit.

        The future is set when that is durable.
        A `Fault` or any other exception from `change` undoes it and arrives in the future.
        """
        future = self._ledger.submit(change)
        future.add_done_callback(lambda _: self._reaper.wake())
        return future

    def ask(self, question: Callable[[apsw.Connection], Answer]) -> Answer:
        """The answer of `question` on one snapshot of the index."""
        return self._ledger.ask(question)

    def lookup(self, question: Callable[[apsw.Connection], Answer]) -> Future[Answer]:
        """`ask`, in one of the few threads that are kept for it."""
        return self._questions.submit(self._ledger.ask, question)

    def work(self, task: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Future[Answer]:
        """Run a task that hashes or waits for the disk in one of the few threads that are kept for it."""
        return self._disk.submit(task, *args, **kwargs)

    def next_manifest(self) -> int:
        """A number for a new object or upload, used by no other while this server lives."""
        with self._manifest_gate:
            self._manifest += 1
            return self._manifest

    def new_body(self, algorithms: Iterable[str] = ()) -> BodyWriter:
        """A writer for the bytes of one new piece, which also computes the checksums of `algorithms`."""
        with self._epoch_gate:
            if not self._epoch:
                self._epoch = self._ledger.submit(_new_epoch).result()
        return self._bodies.writer(self._epoch, algorithms)

    def open(self, bucket: str, key: str) -> ObjectReader | None:
        """A reader of the object as it is now, or None when there is no such object; close it."""
        return self.open_found(lambda index: _find(index, bucket, key))

    def open_found(self, find: Callable[[apsw.Connection], ObjectRecord | None]) -> ObjectReader | None:
        """A reader of the version that `find` gives, or None when it gives none; close it. What `find` raises comes out."""

        def lookup(index: apsw.Connection) -> tuple[ObjectRecord, list[Piece]] | None:
            record = find(index)
            return (record, keys.pieces_of(index, record.manifest)) if record else None

        def hold() -> tuple[ObjectReader | None, list[int]]:
            found = self._ledger.ask(lookup)
            if found is None:
                return None, []
            reader = ObjectReader(self._bodies, *found)
            return reader, reader.bodies

        return self._bodies.hold(hold)

    def opening(self, find: Callable[[apsw.Connection], ObjectRecord | None]) -> Future[ObjectReader | None]:
        """`open_found`, in one of the threads that are kept for questions to the index."""
        return self._questions.submit(self.open_found, find)

    def read_bytes(self, bucket: str, key: str) -> bytes | None:
        """All bytes of a small object, or None when there is no such object."""
        reader = self.open(bucket, key)
        if reader is None:
            return None
        with reader:
            return reader.read(0, reader.record.size)

    def bucket(self, name: str) -> Bucket | None:
        """The bucket called `name`, or None."""
        return self._ledger.ask(lambda index: keys.find_bucket(index, name))

    def close(self) -> None:
        """Commit what waits and let go of the folder."""
        self._disk.shutdown(wait=True)
        self._questions.shutdown(wait=True)
        self._reaper.close()
        self._ledger.close()
        os.close(self._lock_file)


def _hold(root: Path) -> int:
    """Lock the folder for this process; the lock goes when the process does, however it ends."""
    handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreInUse(f"{root} is in use by another server: stop that one, or give another folder") from None
    return handle


def _new_epoch(index: apsw.Connection) -> int:
    index.execute("INSERT INTO epoch (number, swept) SELECT coalesce(max(number), 0) + 1, 0 FROM epoch")
    return index.last_insert_rowid()


def _find(index: apsw.Connection, bucket_name: str, key: str) -> ObjectRecord | None:
    bucket = keys.find_bucket(index, bucket_name)
    return find_object(index, bucket, key) if bucket else None
