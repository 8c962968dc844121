"""Jobs that wait for the whole of another: who they are, and the news of its end, which a turn brings to a bounded number of them.

A job may have a million dependents. Each of them moves by itself, so a turn tells some and the next turn goes on. Nothing is lost on the
way: what a job still waits for stands in its record, and the news are gathered anew at a start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from batchyard.model.job import Dependency, Job


class _News(NamedTuple):
    leader: str
    succeeded: bool
    to_tell: Iterator[str]


class Dependents:
    """One per engine. `tell_one(job, leader, succeeded)` moves a job that has waited for `leader`."""

    def __init__(self, find: Callable[[str], Job | None], tell_one: Callable[[Job, str, bool, int], None]) -> None:
        self._find = find
        self._tell_one = tell_one
        self._waiting: dict[str, list[str]] = {}  # a job, or a child -> jobs that wait for the whole of it
        self._news: deque[_News] = deque()

    def __iter__(self) -> Iterator[str]:
        """Those that somebody waits for."""
        return iter(self._waiting)

    @property
    def has_news(self) -> bool:
        """Whether somebody is still to be told of an end."""
        return bool(self._news)

    def wait(self, job_id: str, waits_for: Iterable[Dependency]) -> None:
        """A job waits for others; no leader twice."""
        for leader in dict.fromkeys(dependency.job_id for dependency in waits_for):
            self._waiting.setdefault(leader, []).append(job_id)

    def heard(self, leader: str, succeeded: bool) -> None:
        """A job is final: whoever waits for it is to be told."""
        waiting = self._waiting.pop(leader, None)
        if waiting:
            # sorted, so that the same turn comes out the same everywhere
            self._news.append(_News(leader, succeeded, iter(sorted(waiting))))

    def tell(self, most: int, now_ms: int) -> int:
        """Bring the oldest news to at most so many jobs; to how many."""
        told = 0
        while self._news and told < most:
            leader, succeeded, to_tell = self._news[0]
            dependent = next(to_tell, None)
            if dependent is None:
                self._news.popleft()
                continue
            told += 1
            job = self._find(dependent)
            if job is not None and any(d.job_id == leader for d in job.waits_for):  # else it was stopped, or doomed by another
                self._tell_one(job, leader, succeeded, now_ms)
        return told
