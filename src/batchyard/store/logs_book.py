"""The small durable book of the log store: settings of log groups, and the streams and events that clients put themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from batchyard.store.opening import opening, refuse_newer

Namespace = tuple[str, str]
"""(account, region)."""

SCHEMA = """
CREATE TABLE book (created_at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE log_group (
  account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, retention_days INTEGER,
  class TEXT NOT NULL, is_protected INTEGER NOT NULL, tags TEXT NOT NULL, is_deleted INTEGER NOT NULL,
  PRIMARY KEY (account, region, name)) STRICT, WITHOUT ROWID;
CREATE TABLE stream (
  id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, region TEXT NOT NULL, log_group TEXT NOT NULL, name TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL, ingested_at_ms INTEGER, sequence INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX stream_by_name ON stream (account, region, log_group, name);
CREATE TABLE event (
  stream INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, sequence INTEGER NOT NULL, ingested_at_ms INTEGER NOT NULL, message BLOB NOT NULL,
  PRIMARY KEY (stream, timestamp_ms, sequence)) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""
SCHEMA_VERSION = 1
_EXPIRE_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A log group. `retention_days` None: its events never expire."""

    name: str
    created_at_ms: int
    retention_days: int | None = None
    log_class: str = "STANDARD"
    is_protected: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    is_deleted: bool = False

    def cutoff_ms(self, now_ms: int) -> int:
        """Events before this time have expired."""
        return 0 if self.retention_days is None else now_ms - self.retention_days * 86_400_000


class PutStream(NamedTuple):
    """A stream that a client created; `ingested_at_ms` is when it was last written to, `bytes` counts its messages."""

    id: int
    name: str
    created_at_ms: int
    ingested_at_ms: int | None
    sequence: int
    bytes: int


class PutEvent(NamedTuple):
    """An event that a client put; `sequence` numbers the events of a stream as they came."""

    timestamp_ms: int
    sequence: int
    ingested_at_ms: int
    message: bytes


class Book:
    """The SQLite file at `path`, made when missing; one connection under a lock, usable from any thread.

    What a verb changed is synced to disk when it returns.
    """

    def __init__(self, path: Path, now_ms: int) -> None:
        self._lock = threading.RLock()
        with opening(path):
            self._open(path, now_ms)
        self.created_at_ms: int = self._ask("SELECT created_at_ms FROM book")[0][0]

    def _open(self, path: Path, now_ms: int) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(10_000)
        for setting in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {setting}").fetchall()
        version = self._connection.pragma("user_version")
        refuse_newer(path, version, SCHEMA_VERSION)
        if version == 0:
            with self._change():
                self._connection.execute(SCHEMA).fetchall()
                self._connection.execute("INSERT INTO book VALUES (?)", (now_ms,))

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[apsw.Connection]:
        with self._lock, self._connection:
            yield self._connection

    def _ask(self, question: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(question, parameters).fetchall()

    # --- groups ---

    def group(self, namespace: Namespace, name: str) -> LogGroup | None:
        """What is noted about a group, deleted ones too; None if nothing is."""
        found = self._ask(f"SELECT {_GROUP} FROM log_group WHERE account = ? AND region = ? AND name = ?", (*namespace, name))
        return _group(found[0]) if found else None

    def groups(self, namespace: Namespace) -> list[LogGroup]:
        """All groups of which something is noted, by name, deleted ones too."""
        return [_group(row) for row in self._ask(f"SELECT {_GROUP} FROM log_group WHERE account = ? AND region = ?", namespace)]

    def retaining(self) -> list[tuple[Namespace, LogGroup]]:
        """The groups of all namespaces whose events expire."""
        rows = self._ask(f"SELECT account, region, {_GROUP} FROM log_group WHERE retention_days IS NOT NULL AND NOT is_deleted")
        return [((str(row[0]), str(row[1])), _group(row[2:])) for row in rows]

    def tagged(self) -> list[tuple[Namespace, LogGroup]]:
        """The groups of all namespaces that have tags."""
        rows = self._ask(f"SELECT account, region, {_GROUP} FROM log_group WHERE tags != '{{}}' AND NOT is_deleted ORDER BY name")
        return [((str(row[0]), str(row[1])), _group(row[2:])) for row in rows]

    def note_group(self, namespace: Namespace, group: LogGroup) -> None:
        """Write down a group as it is now."""
        with self._change() as connection:
            _write_group(connection, namespace, group)

    def forget_group(self, namespace: Namespace, name: str, grave: LogGroup | None = None) -> None:
        """Remove what is noted about a group, with its streams and their events; `grave` is noted instead."""
        where, key = "WHERE account = ? AND region = ?", (*namespace, name)
        with self._change() as connection:
            connection.execute(f"DELETE FROM event WHERE stream IN (SELECT id FROM stream {where} AND log_group = ?)", key)
            connection.execute(f"DELETE FROM stream {where} AND log_group = ?", key)
            connection.execute(f"DELETE FROM log_group {where} AND name = ?", key)
            if grave is not None:
                _write_group(connection, namespace, grave)

    # --- streams ---

    def stream_names(self, namespace: Namespace, group: str) -> list[str]:
        """The names of the streams that clients created in a group."""
        rows = self._ask("SELECT name FROM stream WHERE account = ? AND region = ? AND log_group = ?", (*namespace, group))
        return [str(row[0]) for row in rows]

    def streams(self, namespace: Namespace, group: str) -> list[PutStream]:
        """The streams that clients created in a group."""
        rows = self._ask(f"SELECT {_STREAM} FROM stream WHERE account = ? AND region = ? AND log_group = ?", (*namespace, group))
        return [PutStream(*row) for row in rows]

    def stream(self, namespace: Namespace, group: str, name: str) -> PutStream | None:
        """The stream of that name, or None."""
        where = "WHERE account = ? AND region = ? AND log_group = ? AND name = ?"
        rows = self._ask(f"SELECT {_STREAM} FROM stream {where}", (*namespace, group, name))
        return PutStream(*rows[0]) if rows else None

    def note_stream(self, namespace: Namespace, group: str, name: str, now_ms: int) -> PutStream:
        """The stream of that name, made if it is not there."""
        with self._change() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO stream (account, region, log_group, name, created_at_ms, sequence, bytes) "
                "VALUES (?, ?, ?, ?, ?, 0, 0)",
                (*namespace, group, name, now_ms),
            )
            found = self.stream(namespace, group, name)
        assert found is not None
        return found

    def forget_stream(self, namespace: Namespace, group: str, name: str) -> None:
        """Remove a stream and its events."""
        with self._change() as connection:
            found = self.stream(namespace, group, name)
            if found is not None:
                connection.execute("DELETE FROM event WHERE stream = ?", (found.id,))
                connection.execute("DELETE FROM stream WHERE id = ?", (found.id,))

    def bytes_put(self, namespace: Namespace, group: str) -> int:
        """How many bytes of messages clients put into a group's streams."""
        rows = self._ask(
            "SELECT coalesce(sum(bytes), 0) FROM stream WHERE account = ? AND region = ? AND log_group = ?", (*namespace, group)
        )
        return int(rows[0][0])

    # --- events ---

    def put(self, stream: int, events: Sequence[tuple[int, bytes]], now_ms: int) -> int | None:
        """Append (timestamp in ms, message) pairs; durable on return. The stream's new sequence number, None if it is gone."""
        with self._change() as connection:
            rows = self._ask("SELECT sequence FROM stream WHERE id = ?", (stream,))
            if not rows:
                return None
            first: int = rows[0][0]
            connection.executemany(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?)",
                ((stream, at_ms, first + number, now_ms, message) for number, (at_ms, message) in enumerate(events)),
            )
            size = sum(len(message) for _, message in events)
            connection.execute(
                "UPDATE stream SET sequence = sequence + ?, bytes = bytes + ?, ingested_at_ms = ? WHERE id = ?",
                (len(events), size, now_ms, stream),
            )
        return first + len(events)

    def after(self, stream: int, timestamp_ms: int, sequence: int, limit: int, bytes_max: int) -> list[PutEvent]:
        """The events behind (timestamp, sequence), oldest first, until there are `limit` or `bytes_max` bytes of messages."""
        return self._events(">", "ASC", stream, timestamp_ms, sequence, limit, bytes_max)

    def before(self, stream: int, timestamp_ms: int, sequence: int, limit: int, bytes_max: int) -> list[PutEvent]:
        """The events up to and with (timestamp, sequence), newest first; bounds as in `after`."""
        return self._events("<=", "DESC", stream, timestamp_ms, sequence, limit, bytes_max)

    def _events(
        self, relation: str, order: str, stream: int, timestamp_ms: int, sequence: int, limit: int, bytes_max: int
    ) -> list[PutEvent]:
        question = (
            "SELECT timestamp_ms, sequence, ingested_at_ms, message FROM event "
            f"WHERE stream = ? AND (timestamp_ms, sequence) {relation} (?, ?) "
            f"ORDER BY timestamp_ms {order}, sequence {order} LIMIT ?"
        )
        taken: list[PutEvent] = []
        size = 0
        with self._lock:
            for row in self._connection.execute(question, (stream, timestamp_ms, sequence, limit)):
                taken.append(PutEvent(*row))
                size += len(taken[-1].message)
                if size >= bytes_max:
                    break
        return taken

    def expire(self, namespace: Namespace, group: str, cutoff_ms: int) -> int:
        """Remove events of a group's streams from before `cutoff_ms`; how many. Call again until it is 0: each call is bounded."""
        removed = 0
        for name in self.stream_names(namespace, group):
            with self._change() as connection:
                found = self.stream(namespace, group, name)
                if found is None:
                    continue
                old = "FROM event WHERE stream = ? AND timestamp_ms < ? ORDER BY timestamp_ms, sequence LIMIT ?"
                key = (found.id, cutoff_ms, _EXPIRE_AT_ONCE)
                rows = self._ask(f"SELECT timestamp_ms, sequence, length(message) {old}", key)
                if not rows:
                    continue
                connection.execute(
                    "DELETE FROM event WHERE stream = ? AND (timestamp_ms, sequence) <= (?, ?)", (found.id, rows[-1][0], rows[-1][1])
                )
                connection.execute("UPDATE stream SET bytes = bytes - ? WHERE id = ?", (sum(row[2] for row in rows), found.id))
                removed += len(rows)
        return removed


_STREAM = "id, name, created_at_ms, ingested_at_ms, sequence, bytes"
_GROUP = "name, created_at_ms, retention_days, class, is_protected, tags, is_deleted"


def _write_group(connection: apsw.Connection, namespace: Namespace, group: LogGroup) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO log_group (account, region, {_GROUP}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *namespace,
            group.name,
            group.created_at_ms,
            group.retention_days,
            group.log_class,
            int(group.is_protected),
            json.dumps(group.tags),
            int(group.is_deleted),
        ),
    )


def _group(row: Sequence[Any]) -> LogGroup:
    name, created_at_ms, retention_days, log_class, is_protected, tags, is_deleted = row
    return LogGroup(name, created_at_ms, retention_days, log_class, bool(is_protected), json.loads(tags), bool(is_deleted))
