"""The node's memory on disk: what it was about to do, and what came of it, so that nothing is begun twice and no outcome is lost.

An attempt is noted as an intent, durably, before anything of it is begun; its outcome is noted, durably, before it is reported; it
is forgotten when the engine has it. An intent without an outcome is therefore an attempt that was lost with an earlier node.

The file is a row of records: length u32 | crc32 u32 | msgpack, little endian. It is grown by zeros ahead of the writing, since
overwriting is synced faster than appending; replay stops at the first thing that is not a sound record. It is rewritten from the
state in memory when most of it is history.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard.model.messages import AttemptEnded

NAME = "node.journal"
_HEAD = struct.Struct("<II")
_AHEAD = 256 * 1024
_REWRITE_ABOVE = 4 * 1024 * 1024


class Opened(Struct, frozen=True, tag=True):
    """A node begins to write; process ids that follow belong to this boot of the machine."""

    boot_id: str


class Epoch(Struct, frozen=True, tag=True):
    """The youngest lease that has spoken to us."""

    epoch: int


class Intent(Struct, frozen=True, tag=True):
    """This attempt is about to be begun."""

    attempt: str


class Begun(Struct, frozen=True, tag=True):
    """The attempt's first process: `ticks` is its start time in /proc, which tells it from a later process of the same id.

    Of a task of several containers each has one of its own, told apart by `name`.
    """

    attempt: str
    pid: int
    ticks: int
    uid: int
    boot_id: str = ""
    name: str = ""


class Outcome(Struct, frozen=True, tag=True):
    """The attempt is over."""

    ended: AttemptEnded


class Forgotten(Struct, frozen=True, tag=True):
    """The engine has recorded the end of these."""

    attempts: list[str]


Record = Opened | Epoch | Intent | Begun | Outcome | Forgotten

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Journal:
    """The records, and the state they add up to: `epoch`, `intents` (None until begun) and `outcomes`, by attempt.

    `containers` holds, by attempt, what has begun of tasks of several containers.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        self.epoch = 0
        self.intents: dict[str, Begun | None] = {}
        self.containers: dict[str, dict[str, Begun]] = {}
        self.outcomes: dict[str, AttemptEnded] = {}
        self._path = path
        self._boot_id = ""
        self._waiting: list[bytes] = []
        self._unsynced = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = self._replayed()
        self._grown_to = self._end
        self._live_bytes = _AHEAD
        self.note(Opened(boot_id))
        self.rewrite()

    def note(self, record: Record) -> None:
        """Apply a record now; it is on disk after the next `flush`."""
        self._apply(record)
        self._unsynced = True
        self._waiting.append(_packed(record))

    def note_begun(self, attempt: str, pid: int, ticks: int, uid: int, name: str = "") -> None:
        """Like `note`, but not worth a sync of its own: if the machine goes down, so does the process."""
        begun = Begun(attempt, pid, ticks, uid, self._boot_id, name)
        self._apply(begun)
        self._waiting.append(_packed(begun))

    def forget(self, attempts: list[str]) -> None:
        """The engine has these; lost notes of it only mean that they are reported once more."""
        forgotten = Forgotten(attempts)
        self._apply(forgotten)
        self._waiting.append(_packed(forgotten))

    def flush(self) -> None:
        """Write what was noted, synced if any of it has to be durable. OSError (disk full): all of it stays noted for the next try."""
        if self._waiting:
            joined = b"".join(self._waiting)
            if self._end + len(joined) > self._grown_to:
                self._grow(self._end + len(joined) + _AHEAD)
            _write_at(self._descriptor, joined, self._end)
            self._end += len(joined)
            self._waiting.clear()
        if self._unsynced:
            _sync(self._descriptor)
            self._unsynced = False
            if self._end > max(_REWRITE_ABOVE, 4 * self._live_bytes):
                self.rewrite()

    def rewrite(self) -> None:
        """Replace the file by one that holds only what still counts."""
        records: list[Record] = [Opened(self._boot_id), Epoch(self.epoch)]
        for attempt, begun in self.intents.items():
            records.append(Intent(attempt))
            if begun is not None:
                records.append(begun)
            records.extend(self.containers.get(attempt, {}).values())
        records.extend(Outcome(ended) for ended in self.outcomes.values())
        joined = b"".join(_packed(record) for record in records)
        draft = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_at(descriptor, joined + bytes(_AHEAD), 0)
            os.fsync(descriptor)
            draft.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        sync_directory(self._path.parent)
        os.close(self._descriptor)
        self._descriptor, self._end, self._live_bytes = descriptor, len(joined), len(joined)
        self._grown_to = self._end + _AHEAD
        self._waiting.clear()
        self._unsynced = False

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self.flush()
        os.close(self._descriptor)

    def _replayed(self) -> int:
        content = _read_all(self._descriptor)
        at = 0
        while at + _HEAD.size <= len(content):
            length, crc = _HEAD.unpack_from(content, at)
            body = content[at + _HEAD.size : at + _HEAD.size + length]
            if not length or len(body) < length or zlib.crc32(body) != crc:
                break
            self._apply(_decoder.decode(body))
            at += _HEAD.size + length
        return at

    def _apply(self, record: Record) -> None:
        match record:
            case Intent(attempt):
                self.intents[attempt] = None
            case Begun(attempt):
                if attempt in self.intents and record.name:
                    self.containers.setdefault(attempt, {})[record.name] = record
                elif attempt in self.intents:
                    self.intents[attempt] = record
            case Outcome(ended):
                self.intents.pop(ended.attempt, None)
                self.containers.pop(ended.attempt, None)
                self.outcomes[ended.attempt] = ended
            case Forgotten(attempts):
                for attempt in attempts:
                    self.outcomes.pop(attempt, None)
            case Epoch(epoch):
                self.epoch = max(self.epoch, epoch)
            case Opened(boot_id):
                self._boot_id = boot_id

    def begun(self) -> list[Begun]:
        """The first processes of all that has begun and of which no outcome is known."""
        several = [begun for containers in self.containers.values() for begun in containers.values()]
        return [begun for begun in self.intents.values() if begun is not None] + several

    def _grow(self, to: int) -> None:
        _write_at(self._descriptor, bytes(to - self._grown_to), self._grown_to)
        self._grown_to = to


def _packed(record: Record) -> bytes:
    body = _encoder.encode(record)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    content = bytearray()
    while len(content) < size:
        chunk = os.pread(descriptor, size - len(content), len(content))
        if not chunk:
            break
        content += chunk
    return bytes(content)


def _sync(descriptor: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
