"""The engine: takes what has arrived, decides with `core`, and prepares one durable write for the whole turn.

`decide` changes the yard and returns a `Turn`; nothing of it may be seen by anybody until the driver has written it. Each request
is checked before it changes anything; one that raises a Fault is answered with it and the others go on. What raises anything else
is our bug: it is answered as a server fault, logged, and set aside.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from msgspec.structs import replace

from batchyard.core import lifecycle, scheduling, time_limits
from batchyard.core.scheduling import Rules
from batchyard.core.scratch_space import Kept
from batchyard.engine import arrays, dispatch, forgetting
from batchyard.engine.gangs import Gangs
from batchyard.engine.instances import Instances
from batchyard.engine.ledger import Ledger
from batchyard.engine.noting import Noting
from batchyard.engine.reports import Observer
from batchyard.engine.resting import Resting
from batchyard.engine.world import World
from batchyard.engine.yard import Yard
from batchyard.model.capacity import Environment, Health, Instance, Platform, Queue, Resources
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy
from batchyard.model.fault import Fault
from batchyard.model.job import Attempt, Job, Specification, Status, split_child
from batchyard.model.messages import Report, ScratchSeen
from batchyard.model.requests import Cancel, Edit, EndAll, Forget, Reclaim, Request, Submit, TagJob, Terminate
from batchyard.model.view import Waiting
from batchyard.store.records import Changes
from batchyard.store.sql import Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Turn:
    """One turn, not yet written: what changes, what to answer (by position in the batch), and what to carry out afterwards."""

    changes: Changes
    answers: list[Any] = field(default_factory=list)  # a value, or the Fault to raise
    effects: list[dispatch.Order] = field(default_factory=list)
    acknowledge: list[str] = field(default_factory=list)  # attempts whose end this turn records
    wake_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator decided. Times in seconds."""

    rules: Rules = field(default_factory=Rules)
    notice_s: float = 120.0  # of a Spot reclaim, as on AWS
    most_followed: int = 250  # jobs that one turn tells of an end, and that one turn ends of a deleted queue
    start_s: float = 600.0  # an instance that is not there by then is given up, and another one started


class Engine:
    """One server's engine. `store` must be this engine's alone (the lease)."""

    def __init__(self, store: Store, world: World, options: Options | None = None) -> None:
        self.store = store
        self.world = world
        self.options = options or Options()
        self.turns = 0
        self.noting = Noting()
        self.scratch_seen: dict[str, ScratchSeen] = {}  # by provider; never stored: each says it again after it has connected
        self.rebuild()

    def rebuild(self) -> None:
        """Read the working set anew: at start, and after a write that failed."""
        live = self.store.load(with_resting=False)
        resting = Resting(self.store)
        self.yard = Yard(self.world, resting, self.noting, self.scratch_seen)
        self.ledger = Ledger(resting)
        self.observer = Observer(self)
        self.finished: list[Job] = []  # in this turn, not yet followed up
        self.recent: dict[str, Status] = {}  # finished in turns whose write may not be seen by the store's reader yet
        self.touched_arrays: set[str] = set()
        self.touched_gangs: set[str] = set()
        self.blocked: dict[str, str] = {}
        self.kept: dict[str, str] = {}  # instance -> queue: see `scheduling.Plan`
        self.scratch_kept: dict[str, list[Kept]] = {}  # by provider: the same
        self.last_left_ms: dict[str, int] = {}  # queue -> when a job last left its front
        self.dirty = True
        self._wake_at_ms: int | None = None
        self.gangs = Gangs(self)
        self.instances = Instances(self)
        self._to_end: deque[str] = deque()  # of queues that are being deleted
        self._to_follow = 0
        self.links = arrays.Links(self)
        arrays.load(self, live)
        for queue in live.queues:
            if queue.health is Health.DELETING:
                self._empty_queue(queue.arn)
        self.ledger.merge(self.yard.changes)
        self.noting.seen = self.store.last_move()
        self.yard.changes = Changes()

    # --- the turn ---

    def decide(self, requests: Sequence[Request], reports: Sequence[Report], now_ms: int) -> Turn:
        """Take in `requests` and `reports`, in this order, decide, and prepare the write."""
        self.turns += 1
        self.yard.now_ms = now_ms
        turn = Turn(self.yard.changes)
        for request in requests:
            turn.answers.append(self._answer(request, now_ms))
        self.observer.take(reports, now_ms, turn)
        self._to_follow = self.options.most_followed
        self._end_some(now_ms)
        self._follow_up(now_ms)
        self.instances.tend(now_ms)
        if self._wake_at_ms is not None and now_ms >= self._wake_at_ms:
            self.dirty = True
        while self.dirty:  # again if the time of a stuck head was up: the next one has all of its time before it
            self._schedule(now_ms)
            self._limit_heads(now_ms)
            self._follow_up(now_ms)
        self.instances.note_idle(now_ms)
        self._remove_the_deleted()
        turn.changes.told = self.noting.told
        self.yard.resting.note(turn.changes, self.yard.specifications)
        turn.effects.extend(self.observer.orders(turn.changes))
        turn.wake_at_ms = now_ms if self._to_end or self.links.dependents.has_news else self._wake()
        self.yard.changes = Changes()
        return turn

    def merge(self, turn: Turn) -> None:
        """The turn is durable: let it be seen."""
        self.ledger.merge(turn.changes)
        self.noting.seen += len(turn.changes.moves)
        self.yard.resting.settle(turn.changes, self.yard.jobs, self.yard.specifications)
        for id, (job, _queue) in turn.changes.jobs.items():
            if job.status.is_final:
                self.recent.pop(id, None)
                if job.is_array:
                    self.links.release(id)

    def _answer(self, request: Request, now_ms: int) -> Any:
        try:
            return self._handlers[type(request)](self, request, now_ms)
        except Fault as fault:
            return fault
        except Exception:  # one bad request must not take the turn with it; its caller is told, and the log
            log.exception("request set aside: %r", type(request).__name__)
            return Fault("ServerException", "Internal error: the request was set aside and logged.")

    # --- jobs ---

    def move(self, job: Job, event: lifecycle.Event, now_ms: int) -> Job:
        """Advance a job by the table, keep the record, and note what follows from its end."""
        specifications = self.yard.specifications
        spec = specifications.awake.get(job.spec_id) or specifications[job.spec_id]  # the quick way first
        moved = lifecycle.advance(job, spec, event, now_ms)
        if moved is job:
            return job
        self.yard.put_job(moved)
        if moved.is_multi_node or moved.node is not None:
            self.touched_gangs.add(moved.spec_id)
        if moved.status.is_final:
            self.finished.append(moved)
            self.recent[moved.id] = moved.status
            self.dirty = True
        elif moved.status is Status.RUNNABLE and not moved.is_array and moved.node is None:
            self.note_ready(spec)
        return moved

    def note_ready(self, spec: Specification) -> None:
        """A job became ready: look at the queue again, unless its head is known to be blocked and still is the head.

        Children of one array need the same: where one is blocked, the next is too. With fair share only the first of a share counts.
        """
        head, blocked = self.yard.lanes.head(spec.queue, spec.share), self.blocked.get(spec.queue)
        if blocked is None or head is None or (head[1] != split_child(blocked)[0] and (not spec.share or head[1] == spec.id)):
            self.dirty = True

    def _submit(self, request: Submit, now_ms: int) -> None:
        spec = request.spec
        queue = self.yard.queues.get(spec.queue)
        if queue is None or queue.health is Health.DELETING:
            raise Fault("ClientException", f"JobQueue {spec.queue} not found.")
        for dependency in spec.depends_on:
            if dependency.job_id in self.yard.changes.forgotten:
                raise Fault("ClientException", f"dependsOn: job {dependency.job_id} does not exist.")
        if spec.share and not self.yard.shares.is_live(spec.queue, spec.share):
            self.yard.shares.admit(queue, spec.share)
            self.dirty = True  # one more active share: less is kept for the others
        job = Job(id=spec.id, spec_id=spec.id, status=Status.SUBMITTED, created_at_ms=now_ms, is_array=bool(spec.array_size))
        job = replace(job, is_multi_node=True) if spec.nodes else job
        if spec.created_at_ms != now_ms:
            spec = replace(spec, created_at_ms=now_ms)
        self.yard.put_specification(spec)
        self.links.submit(job, spec, request, now_ms)

    def _forget(self, request: Forget, _now_ms: int) -> int:
        return forgetting.forget(self, request)

    def _cancel(self, request: Cancel, now_ms: int) -> None:
        self._stop(request.job_id, lifecycle.CancelAsked(request.reason), now_ms)

    def _terminate(self, request: Terminate, now_ms: int) -> None:
        self._stop(request.job_id, lifecycle.TerminateAsked(request.reason), now_ms)

    def _stop(self, job_id: str, event: lifecycle.CancelAsked | lifecycle.TerminateAsked, now_ms: int) -> bool:
        """Whether it changed anything. Unknown and finished jobs: nothing happens, as on AWS (specification, section 1.5). Nodes end with
        their job only."""
        job = self.yard.jobs.get(job_id) or self.links.virtual_child(job_id)
        if job is None or job.node is not None:
            return False
        moved = self.move(job, event, now_ms)
        if job.is_array and moved is not job:
            self.links.stop_children(moved, event, now_ms)
        return moved is not job

    def _end_all(self, request: EndAll, now_ms: int) -> int:
        asked, ended = lifecycle.TerminateAsked(request.reason), 0
        for id in list(islice(self.yard.resting.asleep, request.most)):
            ended += self._stop(id, asked, now_ms)
        for job in list(self.yard.jobs.awake.values()):
            if request.most is not None and ended >= request.most:
                break
            if job.index is None:
                ended += self._stop(job.id, asked, now_ms)
        return ended

    def _end_some(self, now_ms: int) -> None:
        """Jobs of deleted queues end, so many in a turn."""
        for _ in range(min(len(self._to_end), self.options.most_followed)):
            self._stop(self._to_end.popleft(), lifecycle.TerminateAsked(lifecycle.QUEUE_DELETED), now_ms)

    def _empty_queue(self, arn: str) -> None:
        """All jobs of a queue are to end."""
        resting, yard = self.yard.resting.asleep, self.yard
        self._to_end.extend(id for id, kind in resting.items() if kind.queue == arn)
        awake = yard.jobs.awake.values()
        self._to_end.extend(j.id for j in awake if j.index is None and j.node is None and yard.specifications[j.spec_id].queue == arn)

    def _tag_job(self, request: TagJob, _now_ms: int) -> None:
        if request.spec.id in self.yard.specifications:
            self.yard.put_specification(request.spec)
        else:
            self.yard.changes.specifications[request.spec.id] = request.spec

    def _follow_up(self, now_ms: int) -> None:
        """What follows from ends of jobs: dependents, arrays, nodes; until nothing more follows, or enough has for one turn."""
        dependents = self.links.dependents
        while self.finished or self.touched_arrays or self.touched_gangs or (dependents.has_news and self._to_follow > 0):
            ended, self.finished = self.finished, []
            for job in ended:
                self.links.ended(job, now_ms)
            self._to_follow -= dependents.tell(self._to_follow, now_ms)
            touched, self.touched_arrays = self.touched_arrays, set()
            for parent in sorted(touched):  # so that the same turn comes out the same everywhere
                self.links.refresh(parent, now_ms)
            gangs, self.touched_gangs = self.touched_gangs, set()
            for parent in sorted(gangs):
                self.gangs.refresh(parent, now_ms)

    # --- named things ---

    def _edit(self, request: Edit, now_ms: int) -> Any:
        catalogue = _Catalogue(self.yard, now_ms)
        answer = request.act(catalogue)
        for record in catalogue.puts:
            self._put_named(record, now_ms)
        for record in catalogue.drops:
            drop = self.yard.drop_consumable if isinstance(record, Consumable) else self.yard.drop_policy
            drop(record.arn)
        self.dirty = True
        return answer

    def _put_named(self, record: Environment | Queue | Definition | Consumable | SchedulingPolicy, now_ms: int) -> None:
        if isinstance(record, Environment):
            self.yard.put_environment(record)
            self.instances.drain_surplus(record)
        elif isinstance(record, Definition):
            self.yard.put_definition(record)
        elif isinstance(record, Consumable):
            self.yard.put_consumable(record)
        elif isinstance(record, SchedulingPolicy):
            self.yard.put_policy(record)
        else:
            self.yard.put_queue(record)
            if record.health is Health.DELETING:
                self._empty_queue(record.arn)

    def _remove_the_deleted(self) -> None:
        for queue in [q for q in self.yard.queues.values() if q.health is Health.DELETING]:
            if not self.yard.live_in_queue.get(queue.arn):
                self.yard.drop_queue(queue.arn)
        for environment in [e for e in self.yard.environments.values() if e.health is Health.DELETING]:
            if not self.yard.environment_instances(environment.arn):
                self.yard.drop_environment(environment.arn)

    def _reclaim(self, request: Reclaim, now_ms: int) -> Instance:
        return self.instances.reclaim(request, now_ms)

    # --- scheduling ---

    def _schedule(self, now_ms: int) -> None:
        self.dirty = False
        made = scheduling.plan(self.yard, now_ms, self.options.rules)
        self.blocked = made.blocked
        self.kept, self.scratch_kept = made.kept, made.scratch_kept
        self._wake_at_ms = made.wake_at_ms
        for waiting, id in made.placements:
            self._place(waiting, self.yard.instances[id], now_ms)
        for waiting, ids in made.gangs:
            self.last_left_ms[waiting.spec.queue] = now_ms
            self.yard.use_up(waiting.spec.consumables)
            self.gangs.place(waiting, ids, now_ms)
        for parent in {w.job_id for w, _ in made.placements if w.child is not None}:
            self.yard.lanes.index_array(parent)
        for id in made.stops:
            self.instances.stop(self.yard.instances[id])
        for id in made.reclaims:
            instance = self.yard.instances[id]
            self.yard.put_instance(replace(instance, reclaim_at_ms=now_ms + int(self.options.notice_s * 1000)))
        for wish in made.starts:
            self.instances.start(wish, now_ms)
        self.dirty = False

    def _limit_heads(self, now_ms: int) -> None:
        """jobStateTimeLimitActions: since when the heads of queues are stuck, and the end of those whose time is up."""
        for queue in list(self.yard.queues.values()):
            if not queue.time_limits and queue.stuck is None:
                continue
            stuck = time_limits.stuck_head(self.yard, queue, now_ms)
            if stuck != queue.stuck:
                self.yard.put_queue(replace(queue, stuck=stuck))
            due_ms = time_limits.due_ms(queue, stuck)
            if stuck is not None and due_ms is not None and due_ms <= now_ms:
                self._stop(stuck.job_id, lifecycle.CancelAsked(time_limits.CANCELED.format(reason=stuck.reason)), now_ms)
            elif due_ms is not None:
                self._wake_at_ms = due_ms if self._wake_at_ms is None else min(self._wake_at_ms, due_ms)

    def _place(self, waiting: Waiting, instance: Instance, now_ms: int) -> None:
        spec = waiting.spec
        attempt = self.new_attempt(spec, instance, waiting.number, now_ms, spec.log_prefix, spec.needs)
        if waiting.child is None:
            job = self.yard.jobs[waiting.job_id]
        else:
            job = self.links.new_child(waiting.job_id, waiting.child)
        self.last_left_ms[waiting.spec.queue] = now_ms
        self.yard.use_up(waiting.spec.consumables)
        self.move(job, lifecycle.Placed(attempt), now_ms)

    def new_attempt(self, spec: Specification, instance: Instance, number: int, now_ms: int, log_prefix: str, needs: Resources) -> Attempt:
        """An attempt of a job, or of one node of it, on an instance."""
        attempt_id = self.world.hex_id(32)
        prefix = log_prefix or spec.definition.rpartition("/")[2].rpartition(":")[0][:200]
        share = min(1.0, max(needs.vcpus / instance.room.vcpus, needs.memory_mib / instance.room.memory_mib))
        return Attempt(
            id=attempt_id,
            number=number,
            instance=instance.id,
            environment=instance.environment,
            platform=_platform(self.yard.environments[instance.environment]),
            cluster=self.yard.environments[instance.environment].ecs_cluster_arn.rpartition("/")[2],
            log_stream=f"{prefix}/default/{attempt_id}",
            placed_at_ms=now_ms,
            price_per_hour=instance.price_per_hour * share,
        )

    def _wake(self) -> int | None:
        """When the next turn is due by time alone."""
        due = [due_ms for i in self.yard.instances.values() if (due_ms := self.instances.due_ms(i)) is not None]
        if self._wake_at_ms is not None:
            due.append(self._wake_at_ms)
        return min(due, default=None)

    _handlers: Mapping[type, Callable[..., Any]] = {
        Submit: _submit,
        Cancel: _cancel,
        Terminate: _terminate,
        TagJob: _tag_job,
        Reclaim: _reclaim,
        EndAll: _end_all,
        Edit: _edit,
        Forget: _forget,
    }


def _platform(environment: Environment) -> str:
    """As an attempt's record keeps it: the environment may be gone when the attempt is looked at."""
    is_spot_task = environment.spot and environment.platform is Platform.FARGATE
    return "FARGATE_SPOT" if is_spot_task else environment.platform.value


class _Catalogue:
    """The `model.requests.Catalogue` of one edit: nothing is kept if the edit raises."""

    def __init__(self, yard: Yard, now_ms: int) -> None:
        self._yard = yard
        self.now_ms = now_ms
        self.puts: list[Environment | Queue | Definition | Consumable | SchedulingPolicy] = []
        self.drops: list[Consumable | SchedulingPolicy] = []
        self.environments: Mapping[str, Environment] = yard.environments
        self.queues: Mapping[str, Queue] = yard.queues
        self.definitions: Mapping[str, Definition] = yard.definitions
        self.policies: Mapping[str, SchedulingPolicy] = yard.policies
        self.instances: Mapping[str, Instance] = yard.instances
        self.consumables: Mapping[str, Consumable] = yard.consumables

    def latest_revision(self, account: str, region: str, name: str) -> int:
        return self._yard.latest_revision(account, region, name)

    def put(self, record: Environment | Queue | Definition | Consumable | SchedulingPolicy) -> None:
        self.puts.append(record)

    def drop(self, record: Consumable | SchedulingPolicy) -> None:
        self.drops.append(record)
