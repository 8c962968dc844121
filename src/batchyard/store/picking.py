"""Reads jobs by id, a handful out of a million: by a connection of its own that maps the file instead of copying pages.

Of a million jobs those that are asked for are on pages that nobody has looked at lately. Reading such a page costs a call of the system
and a copy, or nothing of both where the file is mapped: half the time. Only this connection maps, and only reads: what scans has no use
for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

from batchyard.model.glimpse import WaitingJob, WaitingSpecification
from batchyard.model.job import Job, Specification

MAPPED_BYTES = 1 << 40  # as much as SQLite allows (2 GiB as it is built)
MOST_AT_ONCE = 100

_job = msgspec.json.Decoder(Job).decode
_spec = msgspec.json.Decoder(Specification).decode
_waiting_job = msgspec.json.Decoder(WaitingJob).decode
_waiting_spec = msgspec.json.Decoder(WaitingSpecification).decode


class Picker:
    """`path` is the store's file; without one, `connection` is used as it is."""

    def __init__(self, connection: apsw.Connection, path: Path | None) -> None:
        self._is_own = path is not None
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY) if path else connection
        if self._is_own:
            self._connection.set_busy_timeout(5000)
            self._connection.pragma("mmap_size", MAPPED_BYTES)

    def records(self, job_ids: Sequence[str]) -> dict[str, tuple[Job, Specification]]:
        """Jobs with their specifications, by id; those that are not there are left out."""
        return {id: (_job(job), _spec(spec)) for id, job, spec in self._rows(job_ids)}

    def waiting(self, job_ids: Sequence[str]) -> list[tuple[str, WaitingJob, WaitingSpecification]]:
        """Of jobs that rest: what is their own. Those that are not there are left out."""
        return [(id, _waiting_job(job), _waiting_spec(spec)) for id, job, spec in self._rows(job_ids)]

    def close(self) -> None:
        """Let go of the file."""
        if self._is_own:
            self._connection.close()

    def _rows(self, job_ids: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        for part in (job_ids[start : start + MOST_AT_ONCE] for start in range(0, len(job_ids), MOST_AT_ONCE)):
            marks = ",".join("?" * len(part))
            select = f"SELECT j.id, j.body, s.body FROM jobs j CROSS JOIN specifications s ON s.id = j.spec WHERE j.id IN ({marks})"
            yield from self._connection.execute(select, tuple(part))
