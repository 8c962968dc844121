"""Removes what nothing refers to: bodies of deleted and overwritten objects, and what a crash left of uploads that never ended."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import apsw

from .objects_bodies import BodyFolder
from .objects_ledger import Ledger, LedgerClosed

BATCH = 256
SETTLE_S = 0.05  # a burst of deletions is one batch
PINNED_RETRY_S = 5.0
SWEEP_PAUSE_S = 0.01  # between two folders of a sweep, which has no hurry


class Reaper:
    """A thread that runs when there is something to remove. `wake` after any change; `close` stops it."""

    def __init__(self, ledger: Ledger, bodies: BodyFolder) -> None:
        self._ledger = ledger
        self._bodies = bodies
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # asked before this server writes its first body: its own epoch is never swept
        self._to_sweep: list[int] = ledger.ask(_unswept_epochs)
        if self._to_sweep or ledger.ask(_some_garbage):
            self.wake()

    def wake(self) -> None:
        """There may be garbage."""
        self._wanted.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._stopping.is_set():
                    self._thread = threading.Thread(target=self._run, name="objects-reaper", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Stop; what is not removed yet is at the next start."""
        with self._lock:
            self._stopping.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def run_once(self) -> float | None:
        """Remove all garbage that nobody reads. Seconds until the next try, or None when there is nothing left to do."""
        after = 0
        kept = False
        while batch := self._ledger.ask(partial(_some_garbage, after=after)):
            after = batch[-1]
            removed = self._bodies.remove(batch)
            kept = kept or len(removed) < len(batch)
            self._ledger.submit(partial(_forget_garbage, bodies=removed)).result()
        return PINNED_RETRY_S if kept else None

    def sweep(self, epoch: int) -> int:
        """Remove the bodies of an earlier epoch that nothing refers to; the number of removed files."""
        count = 0
        for found in self._bodies.of_epoch(epoch):
            if self._stopping.is_set():
                return count
            orphans = self._ledger.ask(partial(_unreferred, bodies=found))
            count += len(self._bodies.remove(orphans))
            self._stopping.wait(SWEEP_PAUSE_S)
        self._ledger.submit(partial(_mark_swept, epoch=epoch)).result()
        return count

    def _run(self) -> None:
        with contextlib.suppress(LedgerClosed):
            while not self._stopping.is_set():
                self._wanted.clear()
                retry_s = self.run_once()
                while self._to_sweep and not self._stopping.is_set():
                    self.sweep(self._to_sweep.pop())
                self._wanted.wait(retry_s)
                self._stopping.wait(SETTLE_S)


def _some_garbage(index: apsw.Connection, after: int = 0) -> list[int]:
    query = "SELECT body FROM garbage WHERE body > ? ORDER BY body LIMIT ?"
    return [row[0] for row in index.execute(query, (after, BATCH))]


def _forget_garbage(index: apsw.Connection, bodies: list[int]) -> None:
    index.executemany("DELETE FROM garbage WHERE body = ?", [(body,) for body in bodies])


def _unswept_epochs(index: apsw.Connection) -> list[int]:
    return [row[0] for row in index.execute("SELECT number FROM epoch WHERE swept = 0 ORDER BY number DESC")]


def _mark_swept(index: apsw.Connection, epoch: int) -> None:
    index.execute("UPDATE epoch SET swept = 1 WHERE number = ?", (epoch,))


def _unreferred(index: apsw.Connection, bodies: list[int]) -> list[int]:
    query = "SELECT 1 FROM piece WHERE body = ? UNION ALL SELECT 1 FROM garbage WHERE body = ?"
    return [body for body in bodies if not index.execute(query, (body, body)).fetchall()]
