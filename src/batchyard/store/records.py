"""What a turn writes, as one unit: all of it is durable, or none."""

from __future__ import annotations

from dataclasses import dataclass, field

from batchyard.model.capacity import Environment, Instance, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy, ShareUsage
from batchyard.model.job import Job, Specification


@dataclass(slots=True)
class Changes:
    """The newest state of each record that a turn touched; None means that the record is gone. Keyed by ARN or id."""

    specifications: dict[str, Specification] = field(default_factory=dict)
    jobs: dict[str, tuple[Job, str]] = field(default_factory=dict)  # with the queue's ARN
    environments: dict[str, Environment | None] = field(default_factory=dict)
    queues: dict[str, Queue | None] = field(default_factory=dict)
    definitions: dict[str, Definition | None] = field(default_factory=dict)
    instances: dict[str, Instance | None] = field(default_factory=dict)
    resting: dict[str, int] = field(default_factory=dict)  # of `jobs`: those that only wait, and the number of their kind
    kinds: dict[int, Specification] = field(default_factory=dict)  # new ones
    consumables: dict[str, Consumable | None] = field(default_factory=dict)
    policies: dict[str, SchedulingPolicy | None] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)  # finished jobs, with all that belongs to them
    leftovers: list[str] = field(default_factory=list)  # arrays that are gone, of which some children go now
    shares: dict[str, ShareUsage | None] = field(default_factory=dict)  # by `<queue ARN>/<share>`

    moves: list[tuple[int, Job]] = field(default_factory=list)  # (time, job in its new status), for who wants to be told
    told: int = 0  # all moves up to this number have been handed on, and need not be kept

    def __bool__(self) -> bool:
        named = self.environments or self.queues or self.definitions or self.consumables or self.policies
        past = self.forgotten or self.leftovers
        return bool(self.jobs or self.specifications or self.instances or named or self.shares or past)
