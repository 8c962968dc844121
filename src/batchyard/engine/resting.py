"""Jobs that only wait rest in the store: in memory there is one word about each, its kind, and a record is read when it is asked for.

A job rests while it is PENDING or RUNNABLE, has never been placed and is no part of another. Of such a job the scheduler must know where
it waits and what it needs; its name, container and tags only matter to who looks at it and to its launch. So a million waiting jobs cost
a table of ids, and a restart reads an index instead of a million records (docs/decisions/0014).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from batchyard.model.job import Job, Specification, Status
from batchyard.store.records import Changes
from batchyard.store.sql import Store

Record = TypeVar("Record", bound=Job | Specification)

MOST_RECENT = 4096  # records of resting jobs that are at hand all the same: the newest, and those last asked for

_encode = msgspec.json.Encoder().encode
_EMPTY = Raw(b"{}")
_WAITING = frozenset({Status.PENDING, Status.RUNNABLE})


def may_rest(job: Job) -> bool:
    """Whether the store alone may keep the record of a job."""
    return job.status in _WAITING and job.spec_id == job.id and not job.is_array and not job.is_multi_node and not job.attempts


def kind_of(spec: Specification) -> Specification:
    """A specification without what is the job's own: equal for all jobs between which the scheduler sees no difference."""
    return replace(spec, id="", name="", created_at_ms=0, tags={}, effective=_EMPTY, extras=_EMPTY, depends_on=())


class Resting:
    """Which jobs rest, as of the last committed turn (`asleep`) and less those that the turn being decided has woken (`woken`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.kinds = store.kinds()
        self._numbers = {_encode(kind): number for number, kind in self.kinds.items()}
        self.asleep: dict[str, Specification] = {}  # id -> kind
        self.woken: dict[str, tuple[Job, Specification]] = {}  # as they were
        self.counts: Counter[tuple[str, Status]] = Counter()  # of those that rest as far as is committed, by queue (ARN) and status
        self._recent: dict[str, tuple[Job, Specification]] = {}
        self._asked: set[str] = set()
        self._asked_before: set[str] = set()

    def found(self, id: str) -> tuple[Job, Specification]:
        """The committed records of a job that rests, or did until this turn."""
        at_hand = self.woken.get(id) or self._recent.get(id)
        if at_hand is None:
            at_hand = self._store.found(id)
            if at_hand is None:
                raise LookupError(f"job {id} has no record in the store, although it waits")
            self._keep(id, at_hand)
        return at_hand

    def at_hand(self, id: str) -> tuple[Job, Specification] | None:
        """The same, if it costs nothing."""
        return self.woken.get(id) or self._recent.get(id)

    def strangers(self, ids: Iterable[str]) -> dict[str, Specification]:
        """The kinds of those that rest, are not at hand, and are asked for the first time in a while.

        Records of jobs that are asked for again are worth keeping; to keep those that somebody only passes by costs more than to read them.
        """
        asleep, recent, asked, asked_before = self.asleep, self._recent, self._asked, self._asked_before
        found: dict[str, Specification] = {}
        for id in ids:
            kind = asleep.get(id)
            if kind is not None and id not in recent and id not in asked and id not in asked_before:
                found[id] = kind
        asked.update(found)
        if len(asked) > MOST_RECENT:
            self._asked, self._asked_before = set(), asked
        return found

    def take_up(self, found: Mapping[str, tuple[Job, Specification]]) -> None:
        """Records that were read: those of resting jobs stay at hand for a while."""
        for id, records in found.items():
            if id in self.asleep:
                self._keep(id, records)

    def wake(self, id: str) -> Specification:
        """The turn being decided changes this job: from now on the yard holds its records."""
        self.woken[id] = found = self.found(id)
        del self.asleep[id]
        return found[1]

    def lay_down(self, id: str, kind: Specification, status: Status) -> None:
        """A job rests from now on."""
        self.asleep[id] = kind
        self.counts[kind.queue, status] += 1

    def note(self, changes: Changes, specifications: Mapping[str, Specification]) -> None:
        """Mark those among a turn's jobs that rest once it is written."""
        for id, (job, _queue) in changes.jobs.items():
            if may_rest(job):
                changes.resting[id] = self._number(kind_of(specifications[id]), changes)

    def _number(self, kind: Specification, changes: Changes) -> int:
        text = _encode(kind)
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = max(self.kinds, default=0) + 1
            self.kinds[number] = kind
            changes.kinds[number] = kind
        return number

    def settle(self, changes: Changes, jobs: Records[Job], specifications: Records[Specification]) -> None:
        """A turn is durable: let go of the yard's records of those that rest now."""
        for job, spec in self.woken.values():
            self.counts[spec.queue, job.status] -= 1
        self.woken.clear()
        for id in changes.jobs:
            self._recent.pop(id, None)
        for id, number in changes.resting.items():
            job = jobs.awake.pop(id)
            self.lay_down(id, self.kinds[number], job.status)
            self._keep(id, (job, specifications.awake.pop(id)))
        for id in changes.specifications:
            if id in self.asleep and id not in changes.resting:  # only its tags have changed
                self._recent.pop(id, None)
                specifications.awake.pop(id, None)

    def _keep(self, id: str, records: tuple[Job, Specification]) -> None:
        if len(self._recent) >= MOST_RECENT:
            for oldest in list(islice(self._recent, MOST_RECENT // 2)):
                del self._recent[oldest]
        self._recent[id] = records


class Records(Mapping[str, Record], Generic[Record]):
    """The records of one book by id: those that are awake from memory, those that rest from the store.

    With `sees_woken` it is a book of what is committed, to which a job that the turn being decided has woken is still resting.
    """

    __slots__ = ("_part", "_resting", "_sees_woken", "awake")

    def __init__(self, resting: Resting, part: Callable[[tuple[Job, Specification]], Record], *, sees_woken: bool) -> None:
        self.awake: dict[str, Record] = {}
        self._resting = resting
        self._part = part
        self._sees_woken = sees_woken

    def _rests(self, id: object) -> bool:
        return id in self._resting.asleep or (self._sees_woken and id in self._resting.woken)

    def __getitem__(self, id: str) -> Record:
        record = self.awake.get(id)
        if record is not None:
            return record
        if self._rests(id):
            return self._part(self._resting.found(id))
        raise KeyError(id)

    def get(self, id: str, default: Record | None = None) -> Record | None:  # type: ignore[override]
        record = self.awake.get(id)
        if record is not None:
            return record
        return self._part(self._resting.found(id)) if self._rests(id) else default

    def __contains__(self, id: object) -> bool:
        return id in self.awake or self._rests(id)

    def __iter__(self) -> Iterator[str]:
        yield from self.awake
        asleep = self._resting.asleep
        woken = self._resting.woken if self._sees_woken else {}
        yield from (id for book in (asleep, woken) for id in book if id not in self.awake)

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._sees_woken or self.awake else len(self._resting.asleep)


def job_of(found: tuple[Job, Specification]) -> Job:
    """The part that the book of jobs holds."""
    return found[0]


def spec_of(found: tuple[Job, Specification]) -> Specification:
    """The part that the book of specifications holds."""
    return found[1]
