"""The memory of the small services (IAM, EC2, SSM ...): documents on a shelf, each under service, account, region, kind and name.

One SQLite file, one writer thread that commits in groups; a change is answered only once it is synced. A document is a dict of what
msgpack can hold; fields may be added to it, so readers use `.get` for what an older version did not write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw
import msgspec

from batchyard.store.objects_ledger import Ledger
from batchyard.store.opening import refuse_newer

Answer = TypeVar("Answer")
Document = dict[str, Any]

SCHEMA = """
CREATE TABLE document (
  service TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (service, account, region, kind, name)) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""
SCHEMA_VERSION = 1
NO_REGION = ""  # of services that are the same everywhere, as IAM


class Place(NamedTuple):
    """Where a service's documents stand: what one account has of it in one region."""

    service: str
    account: str
    region: str


class Drawer:
    """The documents at one place, as one transaction (or one snapshot) sees them. Names sort as bytes do."""

    def __init__(self, connection: apsw.Connection, place: Place, now_ms: int) -> None:
        self._connection = connection
        self.place = place
        self.now_ms = now_ms

    def elsewhere(self, place: Place) -> Drawer:
        """The drawer of another place, in the same transaction."""
        return Drawer(self._connection, place, self.now_ms)

    def get(self, kind: str, name: str) -> Document | None:
        """The document, or None."""
        select = "SELECT content FROM document WHERE service = ? AND account = ? AND region = ? AND kind = ? AND name = ?"
        rows = list(self._connection.execute(select, (*self.place, kind, name)))
        return msgspec.msgpack.decode(rows[0][0]) if rows else None

    def entries(self, kind: str, *, prefix: str = "", after: str = "", limit: int | None = None) -> list[tuple[str, Document]]:
        """(name, document) of a kind by name: those that begin with `prefix` and come after `after`, at most `limit`."""
        found: list[tuple[str, Document]] = []
        for name, content in self._rows(kind, prefix, after):
            if limit is not None and len(found) == limit:
                break
            found.append((name, msgspec.msgpack.decode(content)))
        return found

    def names(self, kind: str) -> list[str]:
        """The names of a kind."""
        return [name for name, _ in self._rows(kind, "", "")]

    def count(self, kind: str) -> int:
        """How many documents of a kind there are."""
        select = "SELECT count(*) FROM document WHERE service = ? AND account = ? AND region = ? AND kind = ?"
        return sum(int(count) for (count,) in self._connection.execute(select, (*self.place, kind)))

    def all(self, kind: str) -> list[Document]:
        """Every document of a kind, by name."""
        return [document for _, document in self.entries(kind)]

    def _rows(self, kind: str, prefix: str, after: str) -> Iterator[tuple[str, bytes]]:
        rows = self._connection.execute(
            "SELECT name, content FROM document WHERE service = ? AND account = ? AND region = ? AND kind = ?"
            " AND name >= ? AND name > ? ORDER BY name",
            (*self.place, kind, prefix, after),
        )
        for name, content in rows:
            if not name.startswith(prefix):
                return
            yield name, content

    def put(self, kind: str, name: str, document: Document) -> None:
        """Put a document, instead of the one that is there."""
        self._connection.execute(
            "INSERT INTO document (service, account, region, kind, name, content) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET content = excluded.content",
            (*self.place, kind, name, msgspec.msgpack.encode(document)),
        )

    def delete(self, kind: str, name: str) -> bool:
        """Take a document away; whether it was there."""
        self._connection.execute(
            "DELETE FROM document WHERE service = ? AND account = ? AND region = ? AND kind = ? AND name = ?", (*self.place, kind, name)
        )
        return self._connection.changes() > 0


class Shelf:
    """The shelf in the file `path`, made when missing. Usable from any thread. `now_ms` is the clock that drawers show."""

    def __init__(self, path: Path, now_ms: Callable[[], int] | None = None) -> None:
        self._ledger = _ShelfLedger(path)
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)

    @property
    def version(self) -> int:
        """A number that is another one after every committed change: what was computed at the same number still holds. Who hears of a
        change finds it changed."""
        return self._ledger.commits

    def change(self, place: Place, act: Callable[[Drawer], Answer]) -> Future[Answer]:
        """Have `act` read and change documents in the next commit; the future gets what it returned once that is durable.

        All of its changes are made or none: when `act` raises (a Fault, say), it is undone and the future gets the exception.
        """
        return self._ledger.submit(lambda connection: act(Drawer(connection, place, self._now_ms())))

    def look(self, place: Place, ask: Callable[[Drawer], Answer]) -> Answer:
        """The answer of `ask` on one snapshot of what is committed; it runs in the calling thread."""
        return self._ledger.ask(lambda connection: ask(Drawer(connection, place, self._now_ms())))

    def places(self, service: str) -> list[Place]:
        """Where a service has documents."""
        select = "SELECT DISTINCT account, region FROM document WHERE service = ?"
        return self._ledger.ask(lambda connection: [Place(service, *row) for row in connection.execute(select, (service,))])

    def close(self) -> None:
        """Commit what waits, and let go of the file."""
        self._ledger.close()


class _ShelfLedger(Ledger):
    """The group commit of the object store's index, over the shelf's one table. `commits` counts them."""

    commits = 0

    def _committed(self) -> None:
        self.commits += 1

    def _migrate(self) -> None:
        version = self._writer.pragma("user_version")
        refuse_newer(self._path, version, SCHEMA_VERSION)
        if version == 0:
            self._writer.execute("BEGIN IMMEDIATE")
            for _ in self._writer.execute(SCHEMA):
                pass
            self._writer.execute("COMMIT")
