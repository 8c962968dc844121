"""Why a job is where it is, in one sentence: what it waits for, where it runs, how it ended. Derived when asked for, never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from batchyard.core import consumables, gang_reasons, gangs, reasons, scratch_space, time_limits
from batchyard.core.dependencies import is_sequential
from batchyard.engine.engine import Engine
from batchyard.model.capacity import Queue
from batchyard.model.job import DependencyKind, Job, Specification, Status, child_id, split_child
from batchyard.model.view import Explanation, Reason

Find = Callable[[str], tuple[Job, Specification] | None]


class Explainer:
    """One per reader. `find` gives committed jobs, children without a record too."""

    def __init__(self, engine: Engine, find: Find) -> None:
        self._engine = engine
        self._find = find

    def explain(self, job: Job, spec: Specification, counts: dict[Status, int]) -> Explanation:
        """`counts` are those of an array's children, and empty for other jobs."""
        if counts and not job.status.is_final:
            return self._array(job, spec, counts)
        if job.node is not None and not job.status.is_final:
            return self._node(job, spec)
        if job.status is not Status.RUNNABLE:
            return Explanation(job.id, str(job.status), self._story(job, spec))
        if self.is_moving(job):
            return Explanation(job.id, str(job.status), "is about to start")
        return self._runnable(job.id, str(job.status), spec)

    def _array(self, parent: Job, spec: Specification, counts: dict[Status, int]) -> Explanation:
        numbers = ", ".join(f"{n} {s}" for s, n in counts.items() if n)
        summary = f"array of {spec.array_size}: {numbers}"
        children = self._engine.yard.arrays.get(parent.id)
        if children is not None and children.ready():
            child = self._runnable(parent.id, str(parent.status), spec)
            return Explanation(
                parent.id,
                str(parent.status),
                f"{summary}; for its next child: {child.summary}",
                child.reasons,
                child.aws_reason,
                child.position,
            )
        if parent.waits_for:
            summary += f"; waits for {self._states(d.job_id for d in parent.waits_for)}"
        elif counts[Status.PENDING]:
            summary += f"; its children wait {self._others(spec)}"
        return Explanation(parent.id, str(parent.status), summary)

    def _others(self, spec: Specification) -> str:
        leaders = [d.job_id for d in spec.depends_on if d.kind is DependencyKind.N_TO_N]
        waits = [f"for those of {self._states(leaders)}"] if leaders else []
        return " and ".join([*waits, *(["for one another"] if is_sequential(spec.depends_on) else [])])

    def _runnable(self, job_id: str, status: str, spec: Specification) -> Explanation:
        queue = self._engine.yard.queues.get(spec.queue)
        if queue is None:
            return Explanation(job_id, status, "its job queue is gone")
        if spec.nodes:
            summary, why = self._gang(queue, job_id, spec)
            words = gang_reasons.aws_words(self._engine.yard, queue, spec)
        else:
            summary, why = self.why(queue, job_id, spec)
            words = reasons.aws_words(self._engine.yard, queue, spec.needs)
        summary += self._deadline(queue, spec)
        return Explanation(job_id, status, summary, why, words, self._engine.yard.lanes.position(queue.arn, job_id))

    def _deadline(self, queue: Queue, spec: Specification) -> str:
        """When the queue's jobStateTimeLimitActions end a job that is stuck at its head."""
        if queue.stuck is None or queue.stuck.job_id != spec.id:
            return ""
        due_ms = time_limits.due_ms(queue, queue.stuck)
        if due_ms is None:
            return ""
        left_s = max(0, due_ms - self._engine.world.now_ms()) / 1000
        return f"; its queue cancels it in {left_s:.0f} s if that does not change (jobStateTimeLimitActions)"

    def is_moving(self, job: Job) -> bool:
        """Whether the turn that is being written takes the job out of RUNNABLE: then there is nothing left to wait for."""
        if job.id in self._engine.yard.resting.asleep:
            return False
        children = self._engine.yard.arrays.get(job.spec_id) if job.index is not None else None
        ahead = self._engine.yard.jobs.get(job.id)
        if ahead is not None:
            return ahead.status is not Status.RUNNABLE
        return children is None or job.index is None or not children.ready() >> job.index & 1

    def why(self, queue: Queue, job_id: str, spec: Specification) -> tuple[str, tuple[Reason, ...]]:
        """One sentence and the reasons per environment. Consumable resources that are short come first, then what is kept for
        shares that are not active, then an instance on its way: where there is one of these, it is the only reason."""
        yard, needs = self._engine.yard, spec.needs
        lacking = tuple(consumables.reasons(yard, spec.consumables))
        if lacking and reasons.is_possible(yard, queue, needs):
            return "waits for " + "; ".join(f"consumable resource {r.environment}: {r.shortfall}" for r in lacking), lacking
        kept = reasons.kept_for_others(yard, queue, needs.vcpus)
        if kept is not None and reasons.is_possible(yard, queue, needs):
            return kept.shortfall, (kept,)
        turn = scratch_space.kept_for_others(yard, queue, needs.scratch_mib, self._engine.scratch_kept)
        is_short = bool(turn) or scratch_space.is_short_now(yard, queue, needs.scratch_mib)
        starting = None if is_short else reasons.starting_instance(yard, queue, needs)
        if starting is not None:
            return f"waits for instance {starting.id}, which is starting", ()
        head = self._engine.blocked.get(queue.arn)
        if head is not None and job_id not in (head, split_child(head)[0]) and reasons.is_possible(yard, queue, needs):
            found = self._find(head)
            behind = self._behind(queue, spec, head)
            if found is not None and not self._could_run(queue, found[1]):
                return f"{behind} and cannot run as things are: `batchyard explain {head}` says why", ()
            return f"{behind} and finds no room yet", reasons.per_environment(yard, queue, needs)
        if turn:
            return f"waits its turn: {turn}", ()
        why = reasons.per_environment(yard, queue, needs)
        if not why and spec.consumables:
            names = ", ".join(want.resource.rpartition("/")[2] for want in spec.consumables)
            return f"waits its turn: what is free of {names} is kept for jobs before it", ()
        if not why:
            is_kept = any(yard.instances[id].environment in queue.environments for id in self._engine.kept if id in yard.instances)
            return "waits: the room that is free is kept for the nodes of a job that comes first" if is_kept else "is about to start", ()
        return "; ".join(f"{r.environment}: {r.shortfall}" for r in why), why

    def _gang(self, queue: Queue, job_id: str, spec: Specification) -> tuple[str, tuple[Reason, ...]]:
        """`why`, for all nodes of a multi-node parallel job together."""
        yard, head = self._engine.yard, self._engine.blocked.get(queue.arn)
        why = gang_reasons.per_environment(yard, queue, spec, self._engine.kept)
        if self._could_run(queue, spec):
            lacking = tuple(consumables.reasons(yard, spec.consumables))
            if lacking:
                return "waits for " + "; ".join(f"consumable resource {r.environment}: {r.shortfall}" for r in lacking), lacking
            kept = reasons.kept_for_others(yard, queue, spec.vcpus)
            if kept is not None:
                return kept.shortfall, (kept,)
            if head is not None and head != job_id:
                return self._behind(queue, spec, head), why
            turn = scratch_space.kept_for_others(yard, queue, spec.scratch_mib, self._engine.scratch_kept)
            if turn:
                return f"waits its turn: {turn}", ()
        if not why:
            return "waits its turn" if spec.consumables else "is about to start", ()
        return f"needs room for {spec.num_nodes} nodes at once: " + "; ".join(f"{r.environment}: {r.shortfall}" for r in why), why

    def _behind(self, queue: Queue, spec: Specification, head: str) -> str:
        """That a job waits behind the head of its queue, and if that is of another share, why that share comes first."""
        found = self._find(head)
        shares = reasons.behind_share(self._engine.yard, queue, spec.share, found[1].share) if found is not None else ""
        return f"waits behind {head}, which is at the head of queue {queue.name}{shares and f' ({shares})'}"

    def _could_run(self, queue: Queue, spec: Specification) -> bool:
        """Whether the job could start if nothing else ran."""
        yard = self._engine.yard
        return gangs.environment_of(yard, queue, spec) is not None if spec.nodes else reasons.is_possible(yard, queue, spec.needs)

    def gang_reason(self, queue: Queue, job: Job, spec: Specification, *, as_head: bool, open_profile: bool) -> str:
        """The statusReason of a multi-node parallel job that waits for room: AWS's words, else our own in profile open."""
        words = (gang_reasons.head_words if as_head else gang_reasons.aws_words)(self._engine.yard, queue, spec)
        words = words or gang_reasons.own_words(self._engine.yard, queue, spec)
        return words or (self._gang(queue, job.id, spec)[0] if open_profile else "")

    def _node(self, node: Job, spec: Specification) -> Explanation:
        """A node waits for the main node, or with its job."""
        whole = self._find(node.spec_id)
        if whole is None or node.current is not None or node.attempts or whole[0].status.is_placed:
            story = self._story(node, spec)
            if node.status is Status.RUNNABLE:
                story = "waits for the main node to run" if node.current else "has ended; it runs again if its job is tried again"
            return Explanation(node.id, str(node.status), story)
        told = self.explain(*whole, {})
        return Explanation(node.id, str(node.status), f"with {node.spec_id}: {told.summary}", told.reasons, told.aws_reason, told.position)

    def _story(self, job: Job, spec: Specification) -> str:
        """Why a job that does not wait for room is where it is."""
        if job.status is Status.PENDING or job.status is Status.SUBMITTED:
            states = self._states(self._needed(job, spec))
            return f"waits for {states}" if states else "is about to be evaluated"
        if job.status.is_placed and job.current is not None:
            state = "starts" if job.status is Status.STARTING else "runs"
            return f"{state} on instance {job.current.instance} (attempt {job.current.number} of {spec.attempts})"
        latest = job.latest
        detail = f": {latest.reason}" if latest is not None and latest.reason else ""
        return f"ended: {job.status_reason or 'all children succeeded'}{detail}"

    def _needed(self, job: Job, spec: Specification) -> Iterator[str]:
        """The jobs that a waiting one, or a child of an array, still needs."""
        parent = self._find(job.spec_id) if job.index is not None else None
        yield from (d.job_id for d in (parent[0] if parent else job).waits_for)
        if job.index is None:
            return
        needed = [child_id(d.job_id, job.index) for d in spec.depends_on if d.kind is DependencyKind.N_TO_N]
        if job.index and is_sequential(spec.depends_on):
            needed.append(child_id(job.spec_id, job.index - 1))
        for other in needed:
            found = self._find(other)
            if found is None or found[0].status is not Status.SUCCEEDED:
                yield other

    def _states(self, job_ids: Iterable[str]) -> str:
        found = ((job_id, self._find(job_id)) for job_id in job_ids)
        return ", ".join(f"{job_id} ({job[0].status if job else 'unknown'})" for job_id, job in found)
