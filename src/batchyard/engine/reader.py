"""What callers may read (`model.view.Reader`): committed records, and reasons derived from the yard when they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from batchyard.core import gang_reasons, reasons
from batchyard.engine import gangs, unrecorded
from batchyard.engine.engine import Engine
from batchyard.engine.explaining import Explainer
from batchyard.model.capacity import NOTHING, Environment, Instance, Queue, Resources, Scratch
from batchyard.model.consumable import Consumable, Wants
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy
from batchyard.model.glimpse import Glimpse
from batchyard.model.job import Job, Specification, Status, child_id, node_id, split_child, split_node
from batchyard.model.view import Explanation, JobQuery, Page


async def _at_once() -> None:
    """Nothing is ever being written."""


class EngineReader:
    """One per engine. `open_profile` shows a reason on every waiting job; AWS shows one on a queue's head only. `level` waits until
    nothing is being written (see `Driver.level`)."""

    def __init__(self, engine: Engine, *, open_profile: bool = True, level: Callable[[], Awaitable[None]] = _at_once) -> None:
        self._engine = engine
        self._open_profile = open_profile
        self.level = level
        self._explainer = Explainer(engine, self.job)
        self._said: dict[tuple[str, str, Resources, Wants, bool], str] = {}  # the same for all jobs of a class, until the next turn
        self._said_in_turn = -1

    @property
    def environments(self) -> Mapping[str, Environment]:
        return self._engine.ledger.environments

    @property
    def queues(self) -> Mapping[str, Queue]:
        return self._engine.ledger.queues

    @property
    def definitions(self) -> Mapping[str, Definition]:
        return self._engine.ledger.definitions

    @property
    def policies(self) -> Mapping[str, SchedulingPolicy]:
        return self._engine.ledger.policies

    @property
    def instances(self) -> Mapping[str, Instance]:
        return self._engine.ledger.instances

    @property
    def consumables(self) -> Mapping[str, Consumable]:
        return self._engine.ledger.consumables

    @property
    def machine(self) -> Resources:
        return self._engine.world.host_room("local") or NOTHING

    @property
    def scratch(self) -> Scratch | None:
        return self._engine.yard.scratch("local")

    def in_use(self, resource: str) -> int:
        return self._engine.yard.in_use(resource)

    def latest_revision(self, account: str, region: str, name: str) -> int:
        return self._engine.yard.latest_revision(account, region, name)

    # --- jobs ---

    def job(self, job_id: str) -> tuple[Job, Specification] | None:
        recorded = self._recorded(job_id)
        if recorded is not None:
            return recorded
        if "#" in job_id:
            return self._node_without_record(job_id)
        parent_id, index = split_child(job_id)
        if index is None:
            return None
        found = self.job(parent_id)
        if found is None or index >= found[1].array_size or job_id != child_id(parent_id, index):
            return None
        return self._child_without_record(*found, index), found[1]

    def jobs_of(self, job_ids: Sequence[str]) -> list[tuple[Job, Specification] | None]:
        ledger, resting = self._engine.ledger, self._engine.yard.resting
        found: dict[str, tuple[Job, Specification]] = {}
        missing: list[str] = []
        for id in job_ids:
            job = ledger.jobs.awake.get(id)
            if job is not None:
                spec = ledger.specifications.get(job.spec_id)
                if spec is not None:  # else it is looked for with care, below
                    found[id] = (job, spec)
            elif (id in resting.asleep or id in resting.woken) and (records := resting.at_hand(id)) is not None:
                found[id] = records  # of one that is being woken: as it was, for the store may show already what it will be
            else:
                missing.append(id)
        if missing:
            read = self._engine.store.picker.records(missing)
            resting.take_up(read)
            found.update(read)
        return [found.get(id) or self.job(id) for id in job_ids]

    def glimpses(self, job_ids: Sequence[str]) -> list[Glimpse]:
        kinds = self._engine.yard.resting.strangers(job_ids)
        return [Glimpse(id, kinds[id], job, spec) for id, job, spec in self._engine.store.picker.waiting([*kinds])]

    def _recorded(self, job_id: str) -> tuple[Job, Specification] | None:
        ledger = self._engine.ledger
        job = ledger.jobs.get(job_id) or self._engine.store.job(job_id)
        if job is None:
            return None
        spec = ledger.specifications.get(job.spec_id) or self._engine.store.specification(job.spec_id)
        return (job, spec) if spec is not None else None

    def _node_without_record(self, job_id: str) -> tuple[Job, Specification] | None:
        """A main node, whose record is its job's, or a node that never was placed."""
        parent_id, node = split_node(job_id)
        found = self._recorded(parent_id) if node is not None else None
        if found is None or node is None or node >= found[1].num_nodes:
            return None
        return gangs.node_without_record(*found, node), found[1]

    def _nodes(self, parent: Job, spec: Specification, query: JobQuery) -> Page:
        """The nodes of a multi-node parallel job in order of their index."""
        jobs: list[tuple[Job, Specification]] = []
        for node in range(int(query.cursor or -1) + 1, spec.num_nodes):
            found = self.job(node_id(parent.id, node))
            if found is None or (query.status is not None and found[0].status is not query.status):
                continue
            if len(jobs) == query.limit:
                return Page(jobs, str(jobs[-1][0].node))
            jobs.append(found)
        return Page(jobs, "")

    def _status_without_record(self, parent: Job, index: int) -> Status:
        """A child that never moved: waiting while its array is alive, FAILED with it or by a failed dependency otherwise."""
        children = self._engine.yard.arrays.get(parent.id)
        if parent.status.is_final or children is None:
            return Status.FAILED
        if children.moved >> index & 1:  # it moves in the turn that is being written
            return Status.RUNNABLE
        return children.status_without_record(index)

    def _child_without_record(self, parent: Job, spec: Specification, index: int) -> Job:
        child = Job(
            id=child_id(parent.id, index),
            spec_id=parent.id,
            status=self._status_without_record(parent, index),
            created_at_ms=parent.created_at_ms,
            index=index,
        )
        if child.status is Status.RUNNABLE:
            return replace(child, runnable_at_ms=parent.created_at_ms)
        if child.status is not Status.FAILED:
            return child
        fate = unrecorded.fate(self._recorded, self._engine.store, parent, spec, index)
        if fate is None:  # what ends it is in the turn that is being written
            return replace(child, status=Status.PENDING)
        return replace(
            child,
            status_reason=fate.reason,
            stopped_at_ms=fate.at_ms,
            is_cancelled=fate.stopped and parent.is_cancelled,
            is_terminated=fate.stopped and not parent.is_cancelled,  # the first of both is what stopped it
            stop_reason=fate.reason if fate.stopped else "",
        )

    def specification(self, id: str) -> Specification | None:
        """What a job was submitted with, by `spec_id`; None once it is forgotten."""
        return self._engine.ledger.specifications.get(id) or self._engine.store.specification(id)

    def children_without_record(self, parent: Job, spec: Specification) -> Iterator[Job]:
        """Of a finished array the children that never were placed."""
        recorded = {index for index, _ in self._engine.store.children_of(parent.id)}
        yield from (self._child_without_record(parent, spec, index) for index in range(spec.array_size) if index not in recorded)

    def summary(self, parent: Job) -> dict[Status, int]:
        counts = dict.fromkeys(Status, 0)
        children = self._engine.yard.arrays.get(parent.id)
        if parent.status.is_final or children is None:
            counts[Status.SUCCEEDED], counts[Status.FAILED] = parent.children
            return counts
        live = self._engine.yard.live_children.get(parent.id, set())
        for index in live:
            job = self._engine.ledger.jobs.get(child_id(parent.id, index))
            counts[job.status if job else Status.RUNNABLE] += 1
        counts[Status.SUCCEEDED] = children.succeeded.bit_count()
        counts[Status.FAILED] = children.lost().bit_count()
        counts[Status.RUNNABLE] += children.ready().bit_count()
        counts[Status.PENDING] = children.size - sum(counts.values())
        return counts

    def jobs(self, query: JobQuery) -> Page:
        if query.array is None:
            return self._engine.store.page(query)
        return self._children(query)

    async def find_jobs(self, query: JobQuery) -> Page:
        found = self._engine.store.lists.later(query) if query.array is None else None
        if found is None:
            await self.level()
            return self.jobs(query)
        page = await asyncio.wrap_future(found)
        await self.level()  # a list shows what is written: whoever then asks for one of its jobs is not to find it as it was before
        return page

    def _children(self, query: JobQuery) -> Page:
        """An array's children in order of their index, those without a record among them."""
        found = self.job(query.array or "")
        if found is not None and found[0].is_multi_node:
            return self._nodes(*found, query)
        if found is None or not found[1].array_size:
            return Page([], "")
        parent, spec = found
        recorded = dict(self._engine.store.children_of(parent.id))
        jobs: list[tuple[Job, Specification]] = []
        for index in range(int(query.cursor or -1) + 1, spec.array_size):
            has_record = index in recorded
            status = recorded[index] if has_record else self._status_without_record(parent, index)
            if query.status is not None and status is not query.status:
                continue
            job = self._engine.store.job(child_id(parent.id, index)) if has_record else self._child_without_record(parent, spec, index)
            if job is None or (query.status is not None and job.status is not query.status):
                continue
            if len(jobs) == query.limit:
                return Page(jobs, str(jobs[-1][0].index))
            jobs.append((job, spec))
        return Page(jobs, "")

    # --- why ---

    def waiting_reason(self, job: Job, spec: Specification) -> str:
        """AWS's words for a head that cannot start as things are; else, in profile open, our own sentence."""
        if job.status is not Status.RUNNABLE or self._explainer.is_moving(job):
            return ""
        if spec.nodes:
            return self._gang_reason(job, spec)
        return self._class_reason(job.id, spec)

    def glimpse_reason(self, job_id: str, status: Status, kind: Specification) -> str:
        return self._class_reason(job_id, kind) if status is Status.RUNNABLE else ""

    def _gang_reason(self, job: Job, spec: Specification) -> str:
        is_head = self._engine.blocked.get(spec.queue) == job.id
        queue = self._engine.yard.queues.get(spec.queue)
        if queue is None or not (is_head or self._open_profile):
            return ""
        is_told = is_head and (bool(queue.time_limits) or not self._open_profile)
        return self._explainer.gang_reason(queue, job, spec, as_head=is_told, open_profile=self._open_profile)

    def _class_reason(self, job_id: str, spec: Specification) -> str:
        """The reason of a job that is no group: the same for all of its class but a queue's head, and kept for them until the next turn."""
        is_head = self._engine.blocked.get(spec.queue) == job_id
        queue = self._engine.yard.queues.get(spec.queue)
        if queue is None or not (is_head or self._open_profile):
            return ""
        if self._said_in_turn != self._engine.turns:
            self._said, self._said_in_turn = {}, self._engine.turns
        key = (queue.arn, spec.share, spec.needs, spec.consumables, is_head)
        said = self._said.get(key)
        if said is None:
            as_head = is_head and (queue.time_limits or not self._open_profile)
            words = (reasons.head_words if as_head else reasons.aws_words)(self._engine.yard, queue, spec.needs)
            words = words or reasons.own_words(self._engine.yard, queue, spec.needs)
            said = self._said[key] = words or (self._explainer.why(queue, job_id, spec)[0] if self._open_profile else "")
        return said

    def blocked(self) -> Iterator[tuple[Job, Specification, str]]:
        """Heads of queues that cannot start as things are, with AWS's words for it or, where it has none, ours; not those that only
        wait for others to end."""
        for queue_arn, job_id in list(self._engine.blocked.items()):
            queue, found = self._engine.yard.queues.get(queue_arn), self.job(job_id)
            if queue is None or found is None or found[0].status is not Status.RUNNABLE:
                continue
            job, spec = found
            view = self._engine.yard
            if spec.nodes:
                words = gang_reasons.head_words(view, queue, spec) or gang_reasons.own_words(view, queue, spec)
            else:
                words = reasons.head_words(view, queue, spec.needs) or reasons.own_words(view, queue, spec.needs)
            if words:
                yield job, spec, words

    def explain(self, job_id: str) -> Explanation | None:
        found = self.job(job_id)
        if found is None:
            return None
        job, spec = found
        return self._explainer.explain(job, spec, self.summary(job) if job.is_array else {})

    def front(self, queue: str, limit: int) -> list[tuple[str, int]]:
        """(job id, since when it is at its position): jobs leave a queue at its head, so a place is held since one's own coming or
        the last leaving, whichever was later."""
        front: list[tuple[str, int]] = []
        left_ms = self._engine.last_left_ms.get(queue, 0)
        for waiting in self._engine.yard.ready(queue):
            if len(front) == limit:
                break
            job = self._engine.yard.jobs.get(waiting.job_id)
            since_ms = (job.runnable_at_ms or job.created_at_ms) if job else 0
            name = waiting.job_id if waiting.child is None else child_id(waiting.job_id, waiting.child)
            front.append((name, max(since_ms, left_ms)))
        return front

    def usage(self, queue: str) -> float:
        yard = self._engine.yard
        jobs = (yard.jobs[j] for j in yard.attempts.values())
        return sum(s.needs_of(j).vcpus for j in jobs if (s := yard.specifications[j.spec_id]).queue == queue)

    def share_usage(self, queue: str) -> list[tuple[str, float]]:
        return sorted(self._engine.yard.shares.held(queue).items(), key=lambda held: (-held[1], held[0]))
