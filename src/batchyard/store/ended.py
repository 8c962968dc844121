"""Attempts that ended lately, found in the records: what is remembered of them in memory goes with the process."""

from __future__ import annotations

from collections.abc import Iterable

import apsw
import msgspec

from batchyard.model.job import Job

_job = msgspec.json.Decoder(Job).decode


def attempts_ended_since(reader: apsw.Connection, at_ms: int, most: int, live: Iterable[Job]) -> dict[str, str]:
    """attempt -> job of attempts that ended at `at_ms` or later, at most so many. `live`: the jobs that are not finished."""
    found: dict[str, str] = {}
    parents: list[str] = []

    def take(job: Job) -> None:
        if job.is_array or job.is_multi_node:
            parents.append(job.id)
        found.update((attempt.id, job.id) for attempt in job.attempts if (attempt.stopped_at_ms or 0) >= at_ms)

    for job in live:
        take(job)
    for (body,) in reader.execute("SELECT body FROM jobs WHERE ended_at_ms >= ? ORDER BY ended_at_ms DESC LIMIT ?", (at_ms, most)):
        take(_job(body))
    of_parent = (
        "SELECT body FROM jobs WHERE parent = ? AND status IN ('SUCCEEDED', 'FAILED')"
        " AND json_extract(body, '$.stopped_at_ms') >= ? LIMIT ?"
    )
    for parent in parents:
        if len(found) >= most:
            break
        for (body,) in reader.execute(of_parent, (parent, at_ms, most - len(found))):
            take(_job(body))
    return found
