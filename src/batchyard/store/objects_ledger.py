"""The index of the object store: one SQLite file, one writer thread that commits in groups, and a reader per thread.

Everything that is acknowledged is durable: the file is in WAL mode with full sync, and a change is answered only after the
commit that holds it. Changes that arrive while a commit is being synced share the next one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import apsw

from .objects_schema import STEPS
from .opening import opening, refuse_newer

Answer = TypeVar("Answer")
Change = Callable[[apsw.Connection], Any]

GROUP_LIMIT = 256


class LedgerClosed(Exception):
    """The object store was closed while, or before, a change waited for its commit."""


class Ledger:
    """The SQLite file at `path`, made when missing. `submit` changes it, `ask` reads it; both from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with opening(path):
            self._writer = _connect(path)
            self._migrate()
        self._waiting: queue.SimpleQueue[tuple[Change, Future[Any]] | None] = queue.SimpleQueue()
        self._readers = threading.local()
        self._all_readers: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, change: Callable[[apsw.Connection], Answer]) -> Future[Answer]:
        """Have `change` run in the next group commit.

        The future gets what `change` returned once it is durable. When `change` raises, it alone is undone and the future
        gets the exception.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                raise LedgerClosed("the object store is closed")
            self._waiting.put((change, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="objects-ledger", daemon=True)
                self._thread.start()
        return future

    def ask(self, question: Callable[[apsw.Connection], Answer]) -> Answer:
        """The answer of `question` on one consistent snapshot of what is committed; it runs in the calling thread."""
        reader = self._reader()
        reader.execute("BEGIN")
        try:
            return question(reader)
        finally:
            reader.execute("COMMIT")
            # a cursor that was not read to its end and lives on holds the snapshot: the next question would be answered from it
            if reader.txn_state() != apsw.SQLITE_TXN_NONE:
                self._let_go(reader)

    def close(self) -> None:
        """Commit what waits, stop the writer thread and close every connection."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()
        for reader in self._all_readers:
            reader.close()
        self._writer.close()

    def _migrate(self) -> None:
        version = self._writer.pragma("user_version")
        refuse_newer(self._path, version, len(STEPS))
        for number, step in enumerate(STEPS[version:], version + 1):
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute(step).fetchall()
            self._writer.execute(f"PRAGMA user_version = {number}")
            self._writer.execute("COMMIT")

    def _reader(self) -> apsw.Connection:
        reader: apsw.Connection | None = getattr(self._readers, "connection", None)
        if reader is None:
            reader = _connect(self._path)
            reader.pragma("query_only", True)
            self._readers.connection = reader
            with self._lock:
                self._all_readers.append(reader)
        return reader

    def _let_go(self, reader: apsw.Connection) -> None:
        """Close a reader of this thread with all its cursors."""
        del self._readers.connection
        with self._lock:
            self._all_readers.remove(reader)
        reader.close(True)

    def _run(self) -> None:
        stop = False
        while not stop:
            group = [self._waiting.get()]
            while len(group) < GROUP_LIMIT and not self._waiting.empty():
                group.append(self._waiting.get())
            stop = None in group
            self._commit([entry for entry in group if entry is not None])

    def _commit(self, group: list[tuple[Change, Future[Any]]]) -> None:
        """One transaction for the whole group; each change in a savepoint of its own. Futures are set after the sync."""
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        live = [(change, future) for change, future in group if future.set_running_or_notify_cancel()]
        if not live:
            return
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for change, future in live:
                outcomes.append((future, *self._apply(change)))
            self._writer.execute("COMMIT")
            self._committed()
        except Exception as failure:  # noqa: BLE001 - handed to everyone who waits for this commit
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            for _, future in live:
                future.set_exception(failure)
            return
        for future, answer, fault in outcomes:
            if fault is None:
                future.set_result(answer)
            else:
                future.set_exception(fault)

    def _committed(self) -> None:
        """Called in the writer's thread after each commit, before anyone hears of it."""

    def _apply(self, change: Change) -> tuple[Any, BaseException | None]:
        self._writer.execute("SAVEPOINT change")
        try:
            answer = change(self._writer)
        except Exception as fault:
            if not self._writer.in_transaction:
                raise  # on a full disk SQLite may undo the whole group by itself
            self._writer.execute("ROLLBACK TO change; RELEASE change")
            return None, fault
        self._writer.execute("RELEASE change")
        return answer, None


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("fullfsync", True)  # has a meaning on macOS only
    return connection
