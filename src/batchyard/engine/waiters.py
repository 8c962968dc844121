"""Callers that wait for jobs to end: woken by the turn that ends the last of them, costing nothing meanwhile, and so many at most."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from batchyard.engine.reader import EngineReader
from batchyard.model.fault import Fault
from batchyard.model.job import Job, Specification, split_child, split_node
from batchyard.store.records import Changes

MOST_WAITERS = 1000


class Waiters:
    """One per server; `note` is called with what each durable turn changed (see `Driver.watchers`)."""

    def __init__(self, read: EngineReader) -> None:
        self._read = read
        self._by_job: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._closed = False

    async def until_final(self, job_ids: Sequence[str], timeout_s: float) -> list[tuple[Job, Specification]]:
        """The jobs, once all of them are final or the time is up. Raises a Fault for a job that is not there, or when too many wait."""
        if self._count >= MOST_WAITERS:
            raise Fault("TooManyRequestsException", f"{MOST_WAITERS} callers wait already: ask again in a moment.")
        self._count += 1
        news = asyncio.Event()
        watched = {one for id in job_ids for one in (id, _parent(id))}
        for id in watched:
            self._by_job.setdefault(id, set()).add(news)
        try:
            return await self._wait(job_ids, news, timeout_s)
        finally:
            self._count -= 1
            for id in watched:
                self._by_job[id].discard(news)
                if not self._by_job[id]:
                    del self._by_job[id]

    async def _wait(self, job_ids: Sequence[str], news: asyncio.Event, timeout_s: float) -> list[tuple[Job, Specification]]:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        while True:
            news.clear()
            found = self._found(job_ids)
            left_s = give_up_at - loop.time()
            if left_s <= 0 or self._closed or all(job.status.is_final for job, _ in found):
                return found
            try:
                await asyncio.wait_for(news.wait(), left_s)
            except TimeoutError:
                return self._found(job_ids)

    def _found(self, job_ids: Sequence[str]) -> list[tuple[Job, Specification]]:
        found = self._read.jobs_of(job_ids)
        missing = [id for id, records in zip(job_ids, found, strict=True) if records is None]
        if missing:
            raise Fault("ClientException", f"Job {missing[0]} does not exist.")
        return [records for records in found if records is not None]

    def note(self, changes: Changes) -> None:
        """A turn is durable: wake who waits for one of the jobs that it ended."""
        if self._by_job:
            self._wake(id for id, (job, _) in changes.jobs.items() if job.status.is_final and id in self._by_job)

    def close(self) -> None:
        """The server ends: everybody is answered with what there is."""
        self._closed = True
        self._wake(list(self._by_job))

    def _wake(self, job_ids: Iterable[str]) -> None:
        for id in job_ids:
            for news in self._by_job[id]:
                news.set()


def _parent(job_id: str) -> str:
    """Whose end also ends a child or a node that has no record of its own."""
    return split_child(split_node(job_id)[0])[0]
