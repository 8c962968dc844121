"""The working set: everything that is not finished, indexed so that a turn costs in proportion to what changed.

There are two books. The yard is the engine's own: a turn changes it at once and notes each touched record in `changes`. The
`Ledger` holds what is committed, and it is what callers read; the driver merges a turn's changes into it after the write. If a
write fails, the yard is thrown away and rebuilt from the store (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TypeVar

from batchyard.core.dependencies import Children, bits
from batchyard.core.lifecycle import host_lost
from batchyard.core.retries import would_survive_loss
from batchyard.engine.lane import Key, Lane
from batchyard.engine.world import World
from batchyard.model.capacity import NOTHING, Environment, Instance, Queue, Resources, Shape
from batchyard.model.definition import Definition
from batchyard.model.job import Job, Specification, Status, child_id
from batchyard.model.view import Waiting
from batchyard.store.records import Changes

Record = TypeVar("Record")

_NO_INSTANCES: dict[str, Instance] = {}


class Yard:
    """Implements `model.view.YardView` for the core. Only the engine calls the `put` methods."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.changes = Changes()
        self.environments: dict[str, Environment] = {}
        self.queues: dict[str, Queue] = {}
        self.definitions: dict[str, Definition] = {}
        self.revisions: dict[tuple[str, str, str], int] = {}
        self.instances: dict[str, Instance] = {}
        self.jobs: dict[str, Job] = {}
        self.specifications: dict[str, Specification] = {}
        self.arrays: dict[str, Children] = {}
        self.live_children: dict[str, set[int]] = {}
        self.attempts: dict[str, str] = {}  # attempt -> job
        self.live_in_queue: dict[str, int] = {}
        self._lanes: dict[str, Lane] = {}
        self._used: dict[str, Resources] = {}
        self._on_instance: dict[str, dict[str, bool]] = {}
        self._by_environment: dict[str, dict[str, Instance]] = {}
        self._shapes: dict[str, Sequence[Shape]] = {}
        self._open: list[Queue] | None = None

    # --- the view of the core ---

    @property
    def open_queues(self) -> Sequence[Queue]:
        if self._open is None:
            self._open = sorted(self.queues.values(), key=lambda q: (-q.priority, q.created_at_ms, q.arn))
        return [q for q in self._open if self._lanes.get(q.arn)]

    def ready(self, queue: str, passing: Container[Resources] = ()) -> Iterator[Waiting]:
        for _front, id, child in self._lanes.get(queue, ()):
            spec = self.specifications[id]
            if spec.needs in passing:
                continue
            if child >= 0:
                yield Waiting(child_id(id, child), spec, None, len(self.jobs[child_id(id, child)].attempts) + 1)
            elif spec.array_size:
                for index in bits(self.arrays[id].ready()):
                    yield Waiting(id, spec, index, 1)
                    if spec.needs in passing:
                        break
            else:
                yield Waiting(id, spec, None, len(self.jobs[id].attempts) + 1)

    def ready_count(self, queue: str) -> int:
        """Ready jobs of a queue, an array's children counted one by one."""
        lane = self._lanes.get(queue, Lane())
        return sum(self.arrays[id].ready().bit_count() if child < 0 and id in self.arrays else 1 for _f, id, child in lane)

    def head(self, queue: str) -> Key | None:
        lane = self._lanes.get(queue)
        return lane.first if lane else None

    def free(self, instance: str) -> Resources:
        return self.instances[instance].room.minus(self._used.get(instance, NOTHING))

    def attempts_on(self, instance: str) -> Mapping[str, bool]:
        return self._on_instance.get(instance, {})

    def environment_instances(self, environment: str) -> Mapping[str, Instance]:
        return self._by_environment.get(environment, _NO_INSTANCES)

    def shapes(self, environment: str) -> Sequence[Shape]:
        if environment not in self._shapes:
            self._shapes[environment] = self.world.shapes(self.environments[environment])
        return self._shapes[environment]

    def host_room(self, provider: str) -> Resources | None:
        return self.world.host_room(provider)

    def latest_revision(self, account: str, region: str, name: str) -> int:
        return self.revisions.get((account, region, name), 0)

    # --- named things ---

    def put_environment(self, environment: Environment) -> None:
        self.environments[environment.arn] = environment
        self._shapes.pop(environment.arn, None)
        self.changes.environments[environment.arn] = environment

    def drop_environment(self, arn: str) -> None:
        del self.environments[arn]
        self._by_environment.pop(arn, None)
        self.changes.environments[arn] = None

    def put_queue(self, queue: Queue) -> None:
        self.queues[queue.arn] = queue
        self._open = None
        self.changes.queues[queue.arn] = queue

    def drop_queue(self, arn: str) -> None:
        del self.queues[arn]
        self._lanes.pop(arn, None)
        self._open = None
        self.changes.queues[arn] = None

    def put_definition(self, definition: Definition) -> None:
        self.definitions[definition.arn] = definition
        name = (definition.account, definition.region, definition.name)
        self.revisions[name] = max(self.revisions.get(name, 0), definition.revision)
        self.changes.definitions[definition.arn] = definition

    def put_instance(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        self._by_environment.setdefault(instance.environment, {})[instance.id] = instance
        self.changes.instances[instance.id] = instance

    def drop_instance(self, id: str) -> None:
        instance = self.instances.pop(id)
        self._by_environment.get(instance.environment, {}).pop(id, None)
        self._used.pop(id, None)
        self._on_instance.pop(id, None)
        self.changes.instances[id] = None

    # --- jobs ---

    def put_specification(self, spec: Specification) -> None:
        self.specifications[spec.id] = spec
        self.changes.specifications[spec.id] = spec

    def put_job(self, job: Job) -> None:
        """Replace a job's record and keep every index true. A finished job leaves the yard."""
        old = self.jobs.get(job.id)
        spec = self.specifications[job.spec_id]
        if old is None:
            self.live_in_queue[spec.queue] = self.live_in_queue.get(spec.queue, 0) + 1
        if not job.is_array:
            self._index_lane(old, job, spec)
            self._index_attempt(old, job, spec)
            if job.index is not None:
                self._index_child(job)
        if job.status.is_final:
            self.jobs.pop(job.id, None)
            self.live_in_queue[spec.queue] -= 1
            if job.index is None and not job.is_array:
                del self.specifications[job.spec_id]
        else:
            self.jobs[job.id] = job
        self.changes.jobs[job.id] = (job, spec.queue)

    def forget_array(self, parent: str) -> None:
        """Drop what an array's finished parent leaves behind, once nothing follows it."""
        self.arrays.pop(parent, None)
        self.live_children.pop(parent, None)
        self.specifications.pop(parent, None)

    def index_array(self, parent: str) -> bool:
        """Put an array into its lane, or take it out, as it has ready children or not; whether it was taken out."""
        spec = self.specifications[parent]
        key = (1, parent, -1)
        lane = self._lane(spec.queue)
        if self.arrays[parent].ready():
            lane.add(key)
            return False
        was_there = key in lane
        lane.discard(key)
        return was_there

    def _lane(self, queue: str) -> Lane:
        lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = Lane()
        return lane

    def _index_lane(self, old: Job | None, job: Job, spec: Specification) -> None:
        was = old is not None and old.status is Status.RUNNABLE
        now = job.status is Status.RUNNABLE
        if was and not now:
            assert old is not None
            self._lane(spec.queue).discard(_key(old))
        elif now and not was:
            self._lane(spec.queue).add(_key(job))

    def _index_attempt(self, old: Job | None, job: Job, spec: Specification) -> None:
        before = old.current if old is not None else None
        after = job.current
        if before is not None and (after is None or after.id != before.id):
            self.attempts.pop(before.id, None)
            there = self._on_instance.get(before.instance, {})
            if there.pop(before.id, None) is not None:
                self._used[before.instance] = self._used[before.instance].minus(spec.needs) if there else NOTHING
            before = None
        if after is not None and before is None:
            self.attempts[after.id] = job.id
            survives = would_survive_loss(spec, after.number, host_lost(after.instance))
            self._on_instance.setdefault(after.instance, {})[after.id] = survives
            self._used[after.instance] = self._used.get(after.instance, NOTHING).plus(spec.needs)

    def _index_child(self, job: Job) -> None:
        assert job.index is not None
        children, bit = self.arrays[job.spec_id], 1 << job.index
        children.moved |= bit
        live = self.live_children.setdefault(job.spec_id, set())
        if job.status.is_final:
            live.discard(job.index)
            if job.status is Status.SUCCEEDED:
                children.succeeded |= bit
            else:
                children.failed |= bit
        else:
            live.add(job.index)


def _key(job: Job) -> Key:
    return (0 if job.attempts else 1, job.spec_id, -1 if job.index is None else job.index)


class Ledger:
    """What is committed, for callers to read."""

    def __init__(self) -> None:
        self.environments: dict[str, Environment] = {}
        self.queues: dict[str, Queue] = {}
        self.definitions: dict[str, Definition] = {}
        self.instances: dict[str, Instance] = {}
        self.jobs: dict[str, Job] = {}
        self.specifications: dict[str, Specification] = {}

    def merge(self, changes: Changes) -> None:
        """Take over what a durable turn changed."""
        _merge(self.environments, changes.environments)
        _merge(self.queues, changes.queues)
        _merge(self.definitions, changes.definitions)
        _merge(self.instances, changes.instances)
        for id, (job, _queue) in changes.jobs.items():
            if not job.status.is_final:
                self.jobs[id] = job
                continue
            self.jobs.pop(id, None)
            if job.index is None:
                self.specifications.pop(job.spec_id, None)
        for id, spec in changes.specifications.items():
            if id in self.jobs:  # else it is finished, and only its tags have changed
                self.specifications[id] = spec


def _merge(book: dict[str, Record], records: Mapping[str, Record | None]) -> None:
    for name, record in records.items():
        if record is None:
            book.pop(name, None)
        else:
            book[name] = record
