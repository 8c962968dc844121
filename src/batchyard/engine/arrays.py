"""Who follows whom: dependents of jobs, children of arrays, arrays that follow arrays. Bookkeeping around `core/dependencies`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from batchyard.core import dependencies, lifecycle
from batchyard.core.dependencies import Children, all_bits
from batchyard.engine.dependents import Dependents
from batchyard.engine.gangs import status_without_record
from batchyard.model.job import Dependency, DependencyKind, Job, Specification, Status, child_id, node_id, split_child, split_node
from batchyard.store.sql import Live

if TYPE_CHECKING:
    from batchyard.engine.engine import Engine
    from batchyard.model.requests import Submit


class Links:
    """The edges between jobs of the yard. Rebuilt from the records at start; holds nothing that they do not say."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._yard = engine.yard
        self.dependents = Dependents(self._yard.jobs.get, self._tell)
        self._watched: dict[str, set[int]] = {}  # array -> children that somebody waits for
        self._watched_nodes: dict[str, set[int]] = {}  # multi-node job -> nodes that somebody waits for
        self._followers: dict[str, set[str]] = {}  # array -> arrays that follow it child by child
        self._leaders: dict[str, tuple[str, ...]] = {}  # array -> arrays that it follows

    def submit(self, job: Job, spec: Specification, request: Submit, now_ms: int) -> None:
        """A new job: Held, Released or Doomed by what its dependencies are now."""
        waits_for, doomed = self._outlook(spec, request.settled)
        doom = lifecycle.Doomed(request.wrong) if request.wrong else lifecycle.Doomed() if doomed else None
        engine = self._engine
        if spec.array_size:
            self._yard.arrays[job.id] = Children(spec.array_size, sequential=dependencies.is_sequential(spec.depends_on))
            self._follow(job.id, spec)
        held = replace(job, waits_for=tuple(waits_for)) if waits_for else job
        if spec.array_size:
            self._yard.arrays[job.id].held = bool(waits_for)
            parent = engine.move(held, lifecycle.Held(), now_ms)
            if doom:
                self._doom_array(parent, doom, now_ms)
            else:
                engine.touched_arrays.add(job.id)
        elif doom:
            engine.move(held, doom, now_ms)
        else:
            engine.move(held, lifecycle.Held() if waits_for else lifecycle.Released(), now_ms)
        if waits_for and not doom:
            self._wait(job.id, waits_for)

    def _outlook(self, spec: Specification, settled: Mapping[str, Status]) -> tuple[list[Dependency], bool]:
        """The dependencies on whole jobs that are not met yet, and whether one can never be."""
        waits_for: list[Dependency] = []
        doomed = False
        for dependency in spec.depends_on:
            if dependency.kind is not DependencyKind.WHOLE and spec.array_size:
                continue  # N_TO_N and SEQUENTIAL hold children, not the array
            if not dependency.job_id:
                continue
            met = dependencies.standing(self._status(dependency.job_id, settled))
            if met is None:
                waits_for.append(dependency)
            elif met is False:
                doomed = True
        return waits_for, doomed

    def _status(self, job_id: str, settled: Mapping[str, Status]) -> Status | None:
        """The status now: of a live job, of one that ended in a turn still being written, of one that ended long ago."""
        job = self._yard.jobs.get(job_id) or self.virtual_child(job_id)
        if job is not None:
            return job.status
        status = self._engine.recent.get(job_id) or settled.get(job_id)
        if status is not None:
            return status
        parent, node = split_node(job_id)
        if node is not None:
            return self._status_of_node(job_id, parent, node)
        parent, index = split_child(job_id)
        if index is not None and parent in self._yard.arrays:
            children = self._yard.arrays[parent]
            return Status.SUCCEEDED if children.succeeded >> index & 1 else Status.FAILED
        stored = self._engine.store.job(job_id)
        return stored.status if stored else None

    def _status_of_node(self, job_id: str, parent: str, node: int) -> Status | None:
        """Of a node that has no record in the yard: it has ended, or it never was placed, or it is the main one."""
        stored = self._engine.store.job(job_id)
        if stored is not None and stored.status.is_final:
            return stored.status
        status = self._engine.gangs.status(job_id)
        if status is not None:
            return status
        whole, spec = self._engine.store.job(parent), self._engine.store.specification(parent)
        return status_without_record(whole, spec, node) if whole is not None and spec is not None else None

    def _wait(self, job_id: str, waits_for: list[Dependency] | tuple[Dependency, ...]) -> None:
        self.dependents.wait(job_id, waits_for)
        for dependency in waits_for:
            parent, index = split_child(dependency.job_id)
            if index is not None:
                self._watched.setdefault(parent, set()).add(index)
            parent, node = split_node(dependency.job_id)
            if node is not None:
                self._watched_nodes.setdefault(parent, set()).add(node)

    # --- ends ---

    def ended(self, job: Job, now_ms: int) -> None:
        """A job is final: its dependents hear of it, and its array if it is a child."""
        self.dependents.heard(job.id, job.status is Status.SUCCEEDED)
        if job.is_multi_node:
            for node in sorted(self._watched_nodes.pop(job.id, ())):
                if node_id(job.id, node) not in self._yard.jobs:
                    is_main = node == self._yard.specifications[job.spec_id].main_node
                    self.dependents.heard(node_id(job.id, node), is_main and job.status is Status.SUCCEEDED)
            self._engine.gangs.ended(job, now_ms)
        elif job.index is not None:
            self._engine.touched_arrays.add(job.spec_id)
        elif job.is_array:
            for leader in self._leaders.pop(job.id, ()):
                self._followers.get(leader, set()).discard(job.id)
                self.release(leader)

    def _tell(self, job: Job, leader: str, succeeded: bool, now_ms: int) -> None:
        """A job that `job` waits for is final."""
        if not succeeded:
            if job.is_array:
                self._doom_array(job, lifecycle.Doomed(), now_ms)
            else:
                self._engine.move(job, lifecycle.Doomed(), now_ms)
            return
        left = tuple(d for d in job.waits_for if d.job_id != leader)
        if left or job.is_array:
            job = replace(job, waits_for=left)
            self._yard.put_job(job)
        if not left:
            self._release(job, now_ms)

    def _release(self, job: Job, now_ms: int) -> None:
        if job.is_array:
            self._yard.arrays[job.id].held = False
            self._engine.touched_arrays.add(job.id)
        else:
            self._engine.move(job, lifecycle.Released(), now_ms)

    def _doom_array(self, parent: Job, doom: lifecycle.Doomed, now_ms: int) -> None:
        self._yard.arrays[parent.id].stopped = True
        self._engine.move(parent, doom, now_ms)
        self._engine.touched_arrays.add(parent.id)

    # --- arrays ---

    def refresh(self, parent_id: str, now_ms: int) -> None:
        """After any change of an array's children: what is ready, who follows, and whether the array has ended."""
        children = self._yard.arrays.get(parent_id)
        if children is None:
            return
        lost = children.lost()
        for follower in self._followers.get(parent_id, ()):
            self._lead(follower)
            self._engine.touched_arrays.add(follower)
        for index in sorted(self._watched.get(parent_id, ())):
            if (children.succeeded | lost) >> index & 1:
                self._watched[parent_id].discard(index)
                self.dependents.heard(child_id(parent_id, index), bool(children.succeeded >> index & 1))
        parent = self._yard.jobs.get(parent_id)
        if parent is None:
            return
        if children.is_settled():
            succeeded = children.succeeded.bit_count()
            self._engine.move(parent, lifecycle.Settled(succeeded, children.size - succeeded), now_ms)
        if self._yard.lanes.index_array(parent_id):
            self._engine.dirty = True  # its next child may have been what blocked the queue
        if parent_id in self._yard.jobs and children.ready():
            self._engine.note_ready(self._yard.specifications[parent_id])

    def virtual_child(self, job_id: str) -> Job | None:
        """A child that has no record yet and still may run, as a record; None if there is none such."""
        parent_id, index = split_child(job_id)
        children = self._yard.arrays.get(parent_id) if index is not None else None
        if children is None or index is None or index >= children.size or parent_id not in self._yard.jobs:
            return None
        if (children.moved | children.doomed()) >> index & 1:
            return None
        return self.new_child(parent_id, index)

    def new_child(self, parent_id: str, index: int) -> Job:
        """The record of a child before its first move."""
        status = self._yard.arrays[parent_id].status_without_record(index)
        parent = self._yard.jobs[parent_id]
        return Job(id=child_id(parent_id, index), spec_id=parent_id, status=status, created_at_ms=parent.created_at_ms, index=index)

    def stop_children(self, parent: Job, event: lifecycle.CancelAsked | lifecycle.TerminateAsked, now_ms: int) -> None:
        """Children with a record are told one by one; the others follow from the parent's mark, but for those doomed before."""
        children = self._yard.arrays[parent.id]
        if not children.stopped and (doomed := children.doomed()):
            self._yard.put_job(replace(parent, doomed_at_stop=f"{doomed:x}"))
        children.stopped = True
        for index in sorted(self._yard.live_children.get(parent.id, ())):
            self._engine.move(self._yard.jobs[child_id(parent.id, index)], event, now_ms)
        self._engine.touched_arrays.add(parent.id)

    def _follow(self, array: str, spec: Specification) -> None:
        leaders = tuple(d.job_id for d in spec.depends_on if d.kind is DependencyKind.N_TO_N and d.job_id)
        if leaders:
            self._leaders[array] = leaders
            for leader in leaders:
                self._followers.setdefault(leader, set()).add(array)
            self._lead(array)

    def _lead(self, array: str) -> None:
        """Work out anew what an array's leaders allow it."""
        children = self._yard.arrays[array]
        succeeded, failed = all_bits(children.size), 0
        for leader in self._leaders.get(array, ()):
            theirs = self._leader_children(leader, children.size)
            succeeded &= theirs.succeeded
            failed |= theirs.lost()
        children.leaders_succeeded, children.leaders_failed = succeeded, failed

    def _leader_children(self, leader: str, size: int) -> Children:
        """The children of an array, in the yard or long finished. Kept while somebody follows."""
        known = self._yard.arrays.get(leader)
        if known is not None:
            return known
        children = Children(size, stopped=True)
        job = self._engine.store.job(leader)
        if job is not None:
            read_children(self._engine, leader, children)
        self._yard.arrays[leader] = children
        return children

    def release(self, parent: str) -> None:
        """Forget a finished array that nobody follows. Until its end is durable callers still count its children."""
        if parent in self._yard.jobs or parent in self._engine.recent:
            return
        if not self._followers.get(parent):
            self._followers.pop(parent, None)
            self._watched.pop(parent, None)
            self._yard.forget_array(parent)

    def catch_up(self) -> None:
        """At start: jobs whose turn to be told of an end had not come."""
        for leader in list(self.dependents):
            if leader not in self._yard.jobs:
                status = self._status(leader, {})
                if status is None or status.is_final:
                    self.dependents.heard(leader, status is Status.SUCCEEDED)

    def reload(self, job: Job, spec: Specification) -> None:
        """Take up the edges of a job that was read from the store."""
        if job.is_array:
            self._follow(job.id, spec)
        if job.waits_for:
            self._wait(job.id, job.waits_for)


def read_children(engine: Engine, parent: str, children: Children) -> None:
    """Fill the masks from the records of an array's children."""
    for index, status in engine.store.children_of(parent):
        children.moved |= 1 << index
        if status is Status.SUCCEEDED:
            children.succeeded |= 1 << index
        elif status is Status.FAILED:
            children.failed |= 1 << index


def load(engine: Engine, live: Live) -> None:
    """Build the yard from what was last committed."""
    yard = engine.yard
    for environment in live.environments:
        yard.put_environment(environment)
    for policy in live.policies:
        yard.put_policy(policy)
    for queue in live.queues:
        yard.put_queue(queue)
    for definition in live.definitions:
        yard.put_definition(definition)
    for instance in live.instances:
        yard.put_instance(instance)
    for consumable in live.consumables:
        yard.put_consumable(consumable)
    yard.specifications.awake.update(live.specifications)
    yard.changes.specifications.update(live.specifications)
    for job in live.jobs:
        if job.is_array:
            spec = live.specifications[job.spec_id]
            children = Children(spec.array_size, sequential=dependencies.is_sequential(spec.depends_on), held=bool(job.waits_for))
            children.stopped = job.is_cancelled or job.is_terminated
            read_children(engine, job.id, children)
            yard.arrays[job.id] = children
    for job in live.jobs:
        yard.put_job(job)
    for job in live.jobs:
        engine.links.reload(job, live.specifications[job.spec_id])
        if job.is_array:
            engine.touched_arrays.add(job.id)
        elif job.is_multi_node:
            engine.touched_gangs.add(job.id)
    _lay_down(engine, live)
    for usage in live.shares:
        yard.shares.restore(usage)


def _lay_down(engine: Engine, live: Live) -> None:
    """Those that only wait: of a ready one its id and kind are all that is read."""
    yard, kinds = engine.yard, engine.yard.resting.kinds
    for queue in live.queues:
        ready: list[str] = []
        for id, number in engine.store.resting(queue.arn):
            yard.lay_down(id, kinds[number], Status.RUNNABLE)
            ready.append(id)
        yard.lanes.fill(queue.arn, ready)
        for job, number in engine.store.resting_held(queue.arn):
            yard.lay_down(job.id, kinds[number], job.status)
            engine.links.reload(job, kinds[number])
    engine.links.catch_up()
