"""Moves of jobs, kept from the write that made them until they were handed on to who wants to be told: a crash in between loses none."""

from __future__ import annotations

from typing import NamedTuple

import apsw
import msgspec

from batchyard.model.job import Job
from batchyard.store.records import Changes

_encode = msgspec.json.Encoder().encode
_job = msgspec.json.Decoder(Job).decode


class Move(NamedTuple):
    """`job` came into its status at `at_ms`. Numbers rise and are never given twice."""

    seq: int
    at_ms: int
    job: Job


def write(run: apsw.Connection, changes: Changes) -> None:
    """Keep a turn's moves, in its own transaction, and let go of those that were handed on."""
    if changes.moves:
        if changes.told:
            run.execute("DELETE FROM moves WHERE seq <= ?", (changes.told,))
        run.executemany("INSERT INTO moves (at_ms, body) VALUES (?, ?)", [(at_ms, _encode(job).decode()) for at_ms, job in changes.moves])


def moves(reader: apsw.Connection, after: int, last: int, most: int) -> list[Move]:
    """Moves that come after number `after`, up to `last`, oldest first, `most` of them."""
    rows = reader.execute("SELECT seq, at_ms, body FROM moves WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", (after, last, most))
    return [Move(seq, at_ms, _job(body)) for seq, at_ms, body in rows]


def last(reader: apsw.Connection) -> int:
    """The highest number ever given, 0 if none."""
    rows = list(reader.execute("SELECT seq FROM sqlite_sequence WHERE name = 'moves'"))
    return int(rows[0][0]) if rows else 0
