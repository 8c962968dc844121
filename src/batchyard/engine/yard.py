"""The working set: everything that is not finished, indexed so that a turn costs in proportion to what changed.

There are two books. The yard is the engine's own: a turn changes it at once and notes each touched record in `changes`. The ledger
(`ledger.py`) holds what is committed, and it is what callers read; the driver merges a turn's changes into it after the write. If a
write fails, the yard is thrown away and rebuilt from the store (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from batchyard.core.dependencies import Children
from batchyard.core.lifecycle import loss_of
from batchyard.core.retries import would_survive_loss
from batchyard.engine.lanes import Lanes
from batchyard.engine.noting import Noting
from batchyard.engine.resting import Records, Resting, job_of, spec_of
from batchyard.engine.shares import Shares
from batchyard.engine.world import World
from batchyard.model.capacity import NOTHING, Environment, Health, Instance, Queue, Resources, Scratch, Shape
from batchyard.model.consumable import REPLENISHABLE, Consumable, Wants
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy, Sharing
from batchyard.model.job import Job, Specification, Status
from batchyard.model.messages import ScratchSeen
from batchyard.model.view import Passing, Waiting
from batchyard.store.records import Changes

MOST_COUNTED = 2000

_NO_INSTANCES: dict[str, Instance] = {}

ENDED_ATTEMPTS_KEPT = 10_000


class Yard:
    """Implements `model.view.YardView` for the core. Only the engine calls the `put` methods."""

    def __init__(self, world: World, resting: Resting, noting: Noting, scratch_seen: Mapping[str, ScratchSeen]) -> None:
        self.world = world
        self._scratch_seen = scratch_seen
        self.resting = resting
        self.noting = noting
        self.changes = Changes()
        self.now_ms = 0  # of the latest turn
        self.environments: dict[str, Environment] = {}
        self.queues: dict[str, Queue] = {}
        self.definitions: dict[str, Definition] = {}
        self.revisions: dict[tuple[str, str, str], int] = {}
        self.instances: dict[str, Instance] = {}
        self.consumables: dict[str, Consumable] = {}
        self.policies: dict[str, SchedulingPolicy] = {}
        self.shares = Shares(self)
        self.jobs: Records[Job] = Records(resting, job_of, sees_woken=False)
        self.specifications: Records[Specification] = Records(resting, spec_of, sees_woken=False)
        self.arrays: dict[str, Children] = {}
        self.live_children: dict[str, set[int]] = {}
        self.live_nodes: dict[str, set[int]] = {}  # multi-node job -> its nodes that have a record which is not final
        self.attempts: dict[str, str] = {}  # attempt -> job
        self.ended_attempts: dict[str, str] = {}  # the same of those that ended lately: ECS tells of tasks for a while
        self.live_in_queue: dict[str, int] = {}
        self.lanes = Lanes(self)
        self._used: dict[str, Resources] = {}
        self._promised: dict[str, int] = {}  # instance -> MiB of scratch space that its attempts asked for, where they did
        self._in_use: dict[str, int] = {}  # of consumable resources
        self._on_instance: dict[str, dict[str, bool]] = {}
        self._by_environment: dict[str, dict[str, Instance]] = {}
        self._shapes: dict[str, Sequence[Shape]] = {}
        self._open: list[Queue] | None = None

    # --- the view of the core ---

    @property
    def open_queues(self) -> Sequence[Queue]:
        if self._open is None:
            self._open = sorted(self.queues.values(), key=lambda q: (-q.priority, q.created_at_ms, q.arn))
        return [q for q in self._open if self.lanes.has_ready(q.arn) and q.health is not Health.DELETING]

    def ready(self, queue: str, passing: Passing = ()) -> Iterator[Waiting]:
        return self.lanes.ready(queue, passing)

    def policy_of(self, queue: str) -> SchedulingPolicy | None:
        return self.shares.policy_of(queue)

    def sharing(self, queue: str) -> Sharing | None:
        return self.lanes.sharing(queue)

    def free(self, instance: str) -> Resources:
        return self.instances[instance].room.minus(self._used.get(instance, NOTHING))

    def in_use(self, resource: str) -> int:
        return self._in_use.get(resource, 0)

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

    def scratch(self, provider: str) -> Scratch | None:
        seen = self._scratch_seen.get(provider)
        if seen is None:
            return None
        holders = ((self.instances[id].environment, mib) for id, mib in self._promised.items())
        promised_mib = sum(mib for arn, mib in holders if self.environments[arn].provider == provider)
        return Scratch(seen.is_healthy, seen.why_not, seen.capacity_mib, seen.unpromised_mib, promised_mib)

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
        if queue.arn in self.queues and self.queues[queue.arn].scheduling_policy != queue.scheduling_policy:
            self.shares.settle(queue.arn)
        self.queues[queue.arn] = queue
        self._open = None
        self.changes.queues[queue.arn] = queue

    def drop_queue(self, arn: str) -> None:
        del self.queues[arn]
        self.lanes.drop_queue(arn)
        self.shares.drop_queue(arn)
        self._open = None
        self.changes.queues[arn] = None

    def put_policy(self, policy: SchedulingPolicy) -> None:
        for queue in self.queues.values():
            if queue.scheduling_policy == policy.arn:
                self.shares.settle(queue.arn)
        self.policies[policy.arn] = policy
        self.changes.policies[policy.arn] = policy

    def drop_policy(self, arn: str) -> None:
        del self.policies[arn]
        self.changes.policies[arn] = None

    def put_definition(self, definition: Definition) -> None:
        self.definitions[definition.arn] = definition
        name = (definition.account, definition.region, definition.name)
        self.revisions[name] = max(self.revisions.get(name, 0), definition.revision)
        self.changes.definitions[definition.arn] = definition

    def drop_definition(self, arn: str) -> None:
        del self.definitions[arn]
        self.changes.definitions[arn] = None

    def put_instance(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        self._by_environment.setdefault(instance.environment, {})[instance.id] = instance
        self.changes.instances[instance.id] = instance

    def drop_instance(self, id: str) -> None:
        instance = self.instances.pop(id)
        self._by_environment.get(instance.environment, {}).pop(id, None)
        self._used.pop(id, None)
        self._promised.pop(id, None)
        self._on_instance.pop(id, None)
        self.changes.instances[id] = None

    def put_consumable(self, consumable: Consumable) -> None:
        self.consumables[consumable.arn] = consumable
        self.changes.consumables[consumable.arn] = consumable

    def drop_consumable(self, arn: str) -> None:
        del self.consumables[arn]
        self.changes.consumables[arn] = None

    def use_up(self, wants: Wants) -> None:
        """An attempt begins: of resources that do not come back there is less from now on."""
        for resource, quantity in wants:
            known = self.consumables[resource]
            if known.kind != REPLENISHABLE:
                self.put_consumable(replace(known, total=known.total - quantity))

    # --- jobs ---

    def put_specification(self, spec: Specification) -> None:
        self.specifications.awake[spec.id] = spec
        self.changes.specifications[spec.id] = spec

    def lay_down(self, id: str, kind: Specification, status: Status) -> None:
        """At start: a job that rests, as the store has it. Ready ones are put into their lane with `Lanes.fill`."""
        self.resting.lay_down(id, kind, status)
        self.live_in_queue[kind.queue] = self.live_in_queue.get(kind.queue, 0) + 1
        if kind.share:
            self.shares.lay_down(kind)

    def put_job(self, job: Job) -> None:
        """Replace a job's record and keep every index true. A finished job leaves the yard."""
        old = self.jobs.get(job.id)
        if job.id in self.resting.asleep:
            self.specifications.awake.setdefault(job.id, self.resting.wake(job.id))
        spec = self.specifications.awake.get(job.spec_id) or self.specifications[job.spec_id]
        if self.noting.is_wanted:
            self.noting.note(self.changes, old, job, self.now_ms)
        if old is None:
            self.live_in_queue[spec.queue] = self.live_in_queue.get(spec.queue, 0) + 1
        if spec.share:
            self.shares.index(old, job, spec)
        if not job.is_array:
            self.lanes.index(old, job, spec)
            self._index_attempt(old, job, spec)
            if job.index is not None:
                self._index_child(job)
            elif job.node is not None:
                self._index_node(job, job.node)
        if job.status.is_final:
            self.jobs.awake.pop(job.id, None)
            self.live_in_queue[spec.queue] -= 1
            if job.index is None and job.node is None and not job.is_array and not job.is_multi_node:
                del self.specifications.awake[job.spec_id]
        else:
            self.jobs.awake[job.id] = job
        self.changes.jobs[job.id] = (job, spec.queue)

    def forget_array(self, parent: str) -> None:
        """Drop what an array's finished parent leaves behind, once nothing follows it."""
        self.arrays.pop(parent, None)
        self.live_children.pop(parent, None)
        self.specifications.awake.pop(parent, None)

    def _index_attempt(self, old: Job | None, job: Job, spec: Specification) -> None:
        before = old.current if old is not None else None
        after = job.current
        if before is not None and (after is None or after.id != before.id):
            self.attempts.pop(before.id, None)
            self._remember_ended(before.id, job.id)
            there = self._on_instance.get(before.instance, {})
            if there.pop(before.id, None) is not None:
                self._used[before.instance] = self._used[before.instance].minus(spec.needs_of(job)) if there else NOTHING
                self._promise(before.instance, -spec.needs_of(job).scratch_mib)
            if job.node is None:  # what all nodes want together their job holds
                self._hold(spec.consumables, -1)
            before = None
        if after is not None and before is None:
            self.attempts[after.id] = job.id
            survives = would_survive_loss(spec, after.number, loss_of(after))
            self._on_instance.setdefault(after.instance, {})[after.id] = survives
            self._used[after.instance] = self._used.get(after.instance, NOTHING).plus(spec.needs_of(job))
            self._promise(after.instance, spec.needs_of(job).scratch_mib)
            if job.node is None:
                self._hold(spec.consumables, 1)

    def _promise(self, instance: str, more_mib: int) -> None:
        if more_mib:
            self._promised[instance] = self._promised.get(instance, 0) + more_mib
            if not self._promised[instance]:
                del self._promised[instance]

    def _remember_ended(self, attempt: str, job_id: str) -> None:
        self.ended_attempts[attempt] = job_id
        if len(self.ended_attempts) > ENDED_ATTEMPTS_KEPT:
            del self.ended_attempts[next(iter(self.ended_attempts))]

    def _hold(self, wants: Wants, times: int) -> None:
        for resource, quantity in wants:
            self._in_use[resource] = self._in_use.get(resource, 0) + times * quantity

    def _index_node(self, job: Job, node: int) -> None:
        live = self.live_nodes.setdefault(job.spec_id, set())
        if not job.status.is_final:
            live.add(node)
            return
        live.discard(node)
        if not live:
            del self.live_nodes[job.spec_id]

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
