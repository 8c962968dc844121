"""What is committed: the book that callers read, while the yard is already a turn ahead (docs/decisions/0002-two-books.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from batchyard.engine.resting import Records, Resting, job_of, spec_of
from batchyard.model.capacity import Environment, Instance, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy
from batchyard.model.job import Job, Specification
from batchyard.store.records import Changes

Record = TypeVar("Record")


class Ledger:
    """What is committed, for callers to read."""

    def __init__(self, resting: Resting) -> None:
        self._resting = resting
        self.environments: dict[str, Environment] = {}
        self.queues: dict[str, Queue] = {}
        self.definitions: dict[str, Definition] = {}
        self.instances: dict[str, Instance] = {}
        self.consumables: dict[str, Consumable] = {}
        self.policies: dict[str, SchedulingPolicy] = {}
        self.jobs: Records[Job] = Records(resting, job_of, sees_woken=True)
        self.specifications: Records[Specification] = Records(resting, spec_of, sees_woken=True)

    def merge(self, changes: Changes) -> None:
        """Take over what a durable turn changed."""
        _merge(self.environments, changes.environments)
        _merge(self.queues, changes.queues)
        _merge(self.definitions, changes.definitions)
        _merge(self.policies, changes.policies)
        _merge(self.instances, changes.instances)
        _merge(self.consumables, changes.consumables)
        jobs, specifications = self.jobs.awake, self.specifications.awake
        for id, (job, _queue) in changes.jobs.items():
            if id in changes.resting:
                jobs.pop(id, None)
                specifications.pop(id, None)
            elif not job.status.is_final:
                jobs[id] = job
                if id in self._resting.woken:
                    specifications[id] = self._resting.woken[id][1]
            else:
                jobs.pop(id, None)
                if job.index is None and job.node is None:
                    specifications.pop(job.spec_id, None)
        for id, spec in changes.specifications.items():
            if id in jobs:  # else it rests, or is finished and only its tags have changed
                specifications[id] = spec


def _merge(book: dict[str, Record], records: Mapping[str, Record | None]) -> None:
    for name, record in records.items():
        if record is None:
            book.pop(name, None)
        else:
            book[name] = record
