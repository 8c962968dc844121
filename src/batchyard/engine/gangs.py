"""The nodes of multi-node parallel jobs: placed together, started after the main node, stopped when it ends, ended with the job.

A job's own record is its main node. Each other node has a record of its own from the first placement on, and only while the job is
not final may it move. What is to be done follows from the records alone, so a crash at any point changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from batchyard.core import lifecycle
from batchyard.model.job import Job, Specification, Status, node_id, split_node
from batchyard.model.view import Waiting

if TYPE_CHECKING:
    from batchyard.engine.engine import Engine


class Gangs:
    """One per engine; holds nothing that the yard does not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._yard = engine.yard

    def place(self, waiting: Waiting, instances: Sequence[str], now_ms: int) -> None:
        """All nodes, each on its instance: the main one starts, the others hold their room until it runs."""
        engine, spec = self._engine, waiting.spec
        job = self._yard.jobs[waiting.job_id]
        for node, instance in enumerate(instances):
            group = spec.group_of(node)
            names = group.log_prefix, group.needs
            attempt = engine.new_attempt(spec, self._yard.instances[instance], waiting.number, now_ms, *names)
            if node == spec.main_node:
                engine.move(job, lifecycle.Placed(attempt), now_ms)
            else:
                record = self._yard.jobs.get(node_id(job.id, node)) or _new_node(job, node)
                engine.move(record, lifecycle.Reserved(attempt), now_ms)

    def refresh(self, parent_id: str, now_ms: int) -> None:
        """After any change of a job or its nodes: who is called, who is dismissed, and whether the job goes on."""
        job = self._yard.jobs.get(parent_id)
        if job is None or not job.status.is_placed:
            return
        nodes = [self._yard.jobs[node_id(parent_id, n)] for n in sorted(self._yard.live_nodes.get(parent_id, ()))]
        holding = [node for node in nodes if node.current is not None]
        if job.is_ending or job.is_being_stopped:
            words = lifecycle.Dismissed(job.stop_reason or lifecycle.MAIN_NODE_ENDED, job.is_terminated)
            moved = [self._engine.move(node, words, now_ms) for node in holding]
            if any(node.current is None for node in moved):
                self._engine.dirty = True  # what was held for it is free
            if job.is_ending and all(node.current is None for node in moved):
                self._engine.move(job, lifecycle.NodesEnded(), now_ms)
        elif job.status is Status.RUNNING:
            for node in holding:
                if node.status is Status.RUNNABLE:
                    self._engine.move(node, lifecycle.Called(), now_ms)
        else:
            lost = next((node.broken_by for node in nodes if node.current is None and node.broken_by), "")
            if lost:
                self._engine.move(job, lifecycle.NodeLost(lost), now_ms)

    def ended(self, job: Job, now_ms: int) -> None:
        """A job is final, and its nodes with it."""
        for node in sorted(self._yard.live_nodes.get(job.id, ())):
            self._engine.move(self._yard.jobs[node_id(job.id, node)], lifecycle.JobEnded(job), now_ms)
        self._yard.specifications.awake.pop(job.spec_id, None)

    def status(self, job_id: str) -> Status | None:
        """Of a node without an unfinished record of its own whose job is not finished; None if there is none such."""
        parent_id, node = split_node(job_id)
        parent = self._yard.jobs.get(parent_id)
        if node is None or parent is None:
            return None
        return status_without_record(parent, self._yard.specifications[parent.spec_id], node)


def status_without_record(parent: Job, spec: Specification, node: int) -> Status | None:
    """A main node's state is its job's. So is another's that was never placed, but it cannot have succeeded."""
    if node >= spec.num_nodes:
        return None
    if node == spec.main_node or not parent.status.is_final:
        return parent.status
    return Status.FAILED


def node_without_record(parent: Job, spec: Specification, node: int) -> Job:
    """A node as a record: the main one's is its job's; of one that never was placed follows what there is to say from its job."""
    if node == spec.main_node:
        return replace(parent, id=node_id(parent.id, node), node=node, is_multi_node=False)
    status = status_without_record(parent, spec, node)
    assert status is not None
    reason = parent.status_reason or lifecycle.MAIN_NODE_ENDED if status is Status.FAILED else ""
    if status.is_placed:  # its record is in the turn that is being written
        status = Status.RUNNABLE
    return replace(
        parent,
        id=node_id(parent.id, node),
        node=node,
        is_multi_node=False,
        status=status,
        status_reason=reason,
        started_at_ms=None,
        attempts=(),
        current=None,
        broken_by="",
    )


def _new_node(job: Job, node: int) -> Job:
    return Job(
        id=node_id(job.id, node),
        spec_id=job.spec_id,
        status=Status.RUNNABLE,
        created_at_ms=job.created_at_ms,
        runnable_at_ms=job.runnable_at_ms,
        node=node,
    )
