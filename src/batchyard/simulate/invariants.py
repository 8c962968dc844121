"""What must hold after every turn, whatever went wrong before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from batchyard.core import fairshare, packing, scheduling, time_limits
from batchyard.core.consumables import available
from batchyard.core.dependencies import bits
from batchyard.core.forms import containers_of
from batchyard.engine.engine import Engine, Turn
from batchyard.engine.reader import EngineReader
from batchyard.engine.resting import kind_of, may_rest
from batchyard.model.capacity import NOTHING, InstanceState, Platform, Queue, Resources
from batchyard.model.consumable import REPLENISHABLE, Wants
from batchyard.model.job import Attempt, DependencyKind, Job, Specification, Status, child_id
from batchyard.model.view import Waiting
from batchyard.simulate import gangs, sharing
from batchyard.simulate.chance import require
from batchyard.simulate.scratch import Promised, keeps_waiting

S = Status


class Watch:
    """Remembers what may never change again, and compares each turn with it and with itself."""

    def __init__(self, host: Resources) -> None:
        self.finals: dict[str, Job] = {}
        self._past: dict[str, tuple[Job, Specification]] = {}
        self.forgotten: set[str] = set()  # jobs, with all that belongs to them; also those of turns that may not have been written
        self._host = host
        self._promised = Promised()

    def before_write(self, engine: Engine, turn: Turn) -> None:
        """What a turn forgets is remembered here; it may come to be written or not."""
        for id in turn.changes.forgotten:
            self.forgotten.add(id)
            self._past.update((job.id, (job, spec)) for job, spec in sharing.with_children(engine, id))

    def after_turn(self, engine: Engine, turn: Turn, now_ms: int) -> None:
        """A turn has been written and merged."""
        for id, (job, _queue) in turn.changes.jobs.items():
            self._job(engine, job)
            require(engine.store.job(id) == job, f"the store and the turn differ in {id}")
        for id in turn.changes.forgotten:
            require(engine.store.job(id) is None and engine.store.specification(id) is None, f"{id} is forgotten and still there")
        self._books(engine)
        self._capacity(engine, turn)
        _sums(engine)
        self._promised.check(engine)
        sharing.check_held(engine)
        now_placed = (arn for job, arn in turn.changes.jobs.values() if job.current is not None and job.current.placed_at_ms == now_ms)
        sharing.check_kept(engine, set(now_placed))
        _rest(engine)
        for parent in {job.spec_id for job, _ in turn.changes.jobs.values() if job.is_array or job.index is not None}:
            if parent in engine.yard.jobs:
                _array(engine, engine.yard.jobs[parent])
        for id in {job.spec_id for job, _ in turn.changes.jobs.values() if job.is_multi_node or job.node is not None}:
            if id in engine.yard.jobs:
                gangs.check(engine, engine.yard.jobs[id])
            else:
                gangs.check_ended(engine, self.finals[id])
        for queue in engine.yard.open_queues:
            _order(engine, queue, turn, now_ms)
        for queue in engine.yard.queues.values():
            due_ms = time_limits.due_ms(queue, queue.stuck)
            require(due_ms is None or due_ms > now_ms, f"the head of {queue.name} should have been cancelled at {due_ms}")
        require(turn.wake_at_ms is None or turn.wake_at_ms >= now_ms, f"woken for {turn.wake_at_ms}, which is past")
        require(not engine.observer.dropped["illegal"], "a report led to an illegal move")

    def after_rebuild(self, engine: Engine, acknowledged: set[str]) -> None:
        """The working set has been read anew, or a run is over: everything is compared with the store."""
        self._promised.note(engine)
        live = engine.store.load()
        ledger = engine.ledger
        require({j.id: j for j in live.jobs} == ledger.jobs, "the store and the ledger hold other jobs")
        require(live.specifications == ledger.specifications, "the store and the ledger hold other specifications")
        require({i.id: i for i in live.instances} == ledger.instances, "the store and the ledger hold other instances")
        require({e.arn: e for e in live.environments} == ledger.environments, "the store and the ledger hold other environments")
        require({c.arn: c for c in live.consumables} == ledger.consumables, "the store and the ledger hold other consumable resources")
        require({q.arn: q for q in live.queues} == ledger.queues, "the store and the ledger hold other queues")
        require({p.arn: p for p in live.policies} == ledger.policies, "the store and the ledger hold other policies")
        sharing.check_used(engine, self._past)
        for id in acknowledged:
            require(id in self.forgotten or engine.store.job(id) is not None, f"submission {id} was acknowledged and is not there")
        for id, job in self.finals.items():
            require(job.spec_id in self.forgotten or engine.store.job(id) == job, f"finished {id} has changed")

    def _job(self, engine: Engine, job: Job) -> None:
        before = self.finals.get(job.id)
        require(before is None or before == job, f"{job.id} was {before and before.status} and has changed to {job.status}")
        if job.status.is_final:
            self.finals[job.id] = job
        spec = engine.store.specification(job.spec_id)
        require(spec is not None, f"{job.id} has no specification")
        assert spec is not None
        every = [*job.attempts, *([job.current] if job.current else [])]
        require(len(every) <= spec.attempts, f"{job.id} has {len(every)} attempts of {spec.attempts}")
        numbers = [a.number for a in every]
        expected = sorted(set(numbers)) if job.node is not None else list(range(1, len(every) + 1))  # a node may have had no part in one
        require(numbers == expected, f"the attempts of {job.id} are misnumbered")
        is_held = job.status.is_placed if not job.is_ending else False
        waits = job.node is not None and job.status is S.RUNNABLE  # for the main node, with room or without
        require(waits or (job.current is not None) == is_held, f"{job.id} is {job.status} and its attempt says otherwise")
        for attempt in job.attempts:
            _containers(job, spec, attempt)
        times = [job.created_at_ms, job.started_at_ms, job.stopped_at_ms]
        known = [t for t in times if t is not None]
        require(known == sorted(known), f"the times of {job.id} run backwards: {times}")

    def _books(self, engine: Engine) -> None:
        """Once a turn is merged both books say the same."""
        yard, ledger = engine.yard, engine.ledger
        require(yard.jobs == ledger.jobs, "yard and ledger hold other jobs")
        require(yard.instances == ledger.instances, "yard and ledger hold other instances")
        require(yard.environments == ledger.environments, "yard and ledger hold other environments")
        require(yard.queues == ledger.queues, "yard and ledger hold other queues")
        require(yard.policies == ledger.policies, "yard and ledger hold other policies")
        require(yard.consumables == ledger.consumables, "yard and ledger hold other consumable resources")
        require(not yard.changes, "something was changed outside of a turn")
        require(
            not engine.finished and not engine.touched_arrays and not engine.recent and not engine.touched_gangs,
            "a turn left something undone",
        )

    def _capacity(self, engine: Engine, turn: Turn) -> None:
        yard = engine.yard
        total = _sum(i.room for i in yard.instances.values())
        require(total.fits(self._host), f"instances have {total} of a host with {self._host}")
        for instance in turn.changes.instances.values():
            if instance is None or instance.state is not InstanceState.PENDING:
                continue
            environment = yard.environments[instance.environment]
            taken = sum(i.room.vcpus for i in yard.environment_instances(environment.arn).values())
            new = instance.launched_at_ms == engine.world.now_ms()
            require(not new or taken <= environment.max_vcpus, f"{environment.name} has {taken} vCPUs of {environment.max_vcpus}")


def _containers(job: Job, spec: Specification, attempt: Attempt) -> None:
    """What is said of an attempt and of its containers agrees; an attempt of a single container says nothing of others."""
    names = {container.name: container.essential for container in containers_of(spec, attempt.id)}
    ended = {end.name: end for end in attempt.containers}
    require(ended.keys() in (set(), names.keys()), f"{attempt.id} of {job.id} says {sorted(ended)} of {sorted(names)}")
    if names and attempt.exit_code is not None:
        deciding = [end for name, end in ended.items() if names[name]]
        codes, reasons = [end.exit_code for end in deciding], [end.reason for end in deciding]
        require(attempt.exit_code in codes, f"{attempt.id} of {job.id} ended with {attempt.exit_code}, its containers with {codes}")
        require(attempt.reason in reasons, f"{attempt.id} of {job.id} says {attempt.reason!r}, its containers {reasons}")


def _sums(engine: Engine) -> None:
    """What is free, who runs where, and how many jobs a queue has, worked out anew from the jobs."""
    yard = engine.yard
    used: dict[str, Resources] = {}
    where: dict[str, set[str]] = {}
    attempts: dict[str, str] = {}
    queued: dict[str, int] = {}
    held: dict[str, int] = {}
    for job in yard.jobs.values():
        spec = yard.specifications[job.spec_id]
        queued[spec.queue] = queued.get(spec.queue, 0) + 1
        if job.current is not None:
            attempts[job.current.id] = job.id
            used[job.current.instance] = used.get(job.current.instance, NOTHING).plus(spec.needs_of(job))
            where.setdefault(job.current.instance, set()).add(job.current.id)
            for resource, quantity in spec.consumables if job.node is None else ():
                held[resource] = held.get(resource, 0) + quantity
    require(all(yard.in_use(arn) == held.get(arn, 0) for arn in yard.consumables), f"attempts hold {held} and the yard says otherwise")
    require(all(c.total >= 0 for c in yard.consumables.values()), "less than nothing is left of a consumable resource")
    require(yard.attempts == attempts, "the index of attempts is wrong")
    require({q: n for q, n in yard.live_in_queue.items() if n} == queued, "the count of unfinished jobs per queue is wrong")
    require(where.keys() <= yard.instances.keys(), f"attempts on instances that are gone: {sorted(where.keys() - yard.instances.keys())}")
    for id, instance in yard.instances.items():
        left = instance.room.minus(used.get(id, NOTHING))
        require(yard.free(id) == left, f"{id} has {left} free and the yard says {yard.free(id)}")
        require(NOTHING.fits(left), f"{id} is overfull: {left}")
        is_own = yard.environments[instance.environment].platform is not Platform.FARGATE or left in (NOTHING, instance.room)
        require(is_own, f"{id} is a slice for one task and has {left} left")
        require(set(yard.attempts_on(id)) == where.get(id, set()), f"the attempts on {id} are wrong")


def _rest(engine: Engine) -> None:
    """Those that only wait are not in memory, the others are, and what is said of those that rest is what the store has."""
    yard, resting = engine.yard, engine.yard.resting
    counts: Counter[tuple[str, S]] = Counter()
    for id, kind in resting.asleep.items():
        job, spec = resting.found(id)
        require((job, spec) == engine.store.found(id), f"{id} rests, and what is at hand of it is not what the store has")
        require(may_rest(job) and kind_of(spec) == kind, f"{id} rests and should not, or as the wrong kind")
        counts[spec.queue, job.status] += 1
    require(counts == +resting.counts, "the counts of resting jobs are wrong")
    require(not resting.woken, "a job was woken and neither moved nor laid down again")
    require(not any(map(may_rest, yard.jobs.awake.values())), "a job only waits and is in memory all the same")


def _array(engine: Engine, parent: Job) -> None:
    """The masks of an array's children against their records, and what its leaders allow against their children's states."""
    spec, masks = engine.yard.specifications[parent.id], engine.yard.arrays[parent.id]
    records = dict(engine.store.children_of(parent.id))
    for name, statuses in (("moved", frozenset(S)), ("succeeded", {S.SUCCEEDED}), ("failed", {S.FAILED})):
        mask = sum(1 << index for index, status in records.items() if status in statuses)
        require(getattr(masks, name) == mask, f"array {parent.id}: {name} is {getattr(masks, name):b} and its records say {mask:b}")
    require(masks.held == bool(parent.waits_for), f"array {parent.id} is held or not, and its record says otherwise")
    require(masks.stopped == (parent.is_cancelled or parent.is_terminated), f"array {parent.id} is stopped or not")
    leaders = [d.job_id for d in spec.depends_on if d.kind is DependencyKind.N_TO_N]
    read = EngineReader(engine)
    for index in range(spec.array_size) if leaders else ():
        found = [read.job(child_id(leader, index)) for leader in leaders]
        states = {one[0].status if one else S.FAILED for one in found}
        good, bad = masks.leaders_succeeded >> index & 1, masks.leaders_failed >> index & 1
        require(bool(good) == (states == {S.SUCCEEDED}), f"child {index} of array {parent.id}: its leaders are {states}")
        require(bool(bad) == (S.FAILED in states), f"child {index} of array {parent.id}: its leaders are {states}")


def _order(engine: Engine, queue: Queue, turn: Turn, now_ms: int) -> None:
    """Nobody overtook, and nobody waits beside room."""
    view, rules = engine.yard, engine.options.rules
    ready = list(view.ready(queue.arn))
    keys = [_key(waiting, engine) for waiting in ready]
    for share in {w.spec.share for w in ready}:
        of_share = [key for key, waiting in zip(keys, ready, strict=True) if waiting.spec.share == share]
        require(of_share == sorted(set(of_share)), f"the ready jobs of {queue.name} are out of order")
    require(set(keys) == set(_expected(engine, queue)), f"the ready jobs of {queue.name} are not those that are RUNNABLE")
    names = [w.job_id if w.child is None else child_id(w.job_id, w.child) for w in ready]
    require(
        [view.lanes.position(queue.arn, name) for name in names] == list(range(1, len(names) + 1)), f"positions in {queue.name} are wrong"
    )
    require(view.lanes.count(queue.arn) == len(names), f"the count of ready jobs of {queue.name} is wrong")
    most, left = fairshare.allowance(view, queue)[:2]
    possible = [w for w in ready if not rules.pass_impossible or (w.spec.vcpus <= most and gangs.is_possible(view, queue, w.spec))]
    plain = [w for w in possible if not w.spec.consumables]  # those that lack consumable resources may be overtaken
    for job, arn in turn.changes.jobs.values():
        if job.node is not None or arn != queue.arn or job.status is not S.STARTING or job.current is None:
            continue
        if job.current.placed_at_ms == now_ms:
            spec = view.specifications[job.spec_id]
            placed, wants = (_front(spec, bool(job.attempts)), job.spec_id, -1 if job.index is None else job.index), spec.consumables
            alike = (w for w in (possible if wants else plain) if w.spec.share == spec.share and (not wants or w.spec.consumables == wants))
            ahead = next(alike, None)
            require(ahead is None or placed < _key(ahead, engine), f"{job.id} started before one that was there first")
            _covered(engine, wants)
    first = next((w for w in possible if all(available(view, r) >= quantity for r, quantity in w.spec.consumables)), None)
    if first is None or first.spec.consumables:
        return
    if queue.scheduling_policy:  # who is first changes with time: here it is whom the plan has found to be without room
        first = next((w for w, name in zip(ready, names, strict=True) if name == engine.blocked.get(queue.arn)), None)
        require(first is not None, f"nobody blocks {queue.name}, and there are jobs that could start")
        assert first is not None
    if first.spec.vcpus > left or queue.spill_idle or keeps_waiting(engine, queue, first.spec):
        return
    if first.spec.nodes:
        require(not gangs.could_start(engine, queue, first), f"{first.job_id} waits although there is room for all its nodes")
    else:
        needs = first.spec.needs
        for arn in queue.environments:
            for instance in view.environment_instances(arn).values():
                environment = view.environments[arn]
                room = instance.id not in engine.kept and scheduling.takes_jobs(instance, environment)
                room = room and packing.holds(environment, view.free(instance.id), needs)
                require(not room, f"{first.job_id} waits although {instance.id} has room for it")


def _covered(engine: Engine, wants: Wants) -> None:
    """What a job that was placed in this turn holds was there: nothing is promised twice."""
    for resource, _quantity in wants:
        known = engine.yard.consumables[resource]
        within = known.kind != REPLENISHABLE or engine.yard.in_use(resource) <= known.total
        require(within, f"{engine.yard.in_use(resource)} of {known.total} {known.name} are in use")


def _key(waiting: Waiting, engine: Engine) -> tuple[int, str, int]:
    child = -1 if waiting.child is None else waiting.child
    if waiting.child is None and waiting.spec.array_size:
        child = engine.yard.jobs[waiting.job_id].index or 0
    return (_front(waiting.spec, waiting.number > 1), waiting.spec.id, child)


def _front(spec: Specification, is_retried: bool) -> int:
    return -2 * spec.priority + (0 if is_retried else 1)


def _expected(engine: Engine, queue: Queue) -> Iterator[tuple[int, str, int]]:
    yard = engine.yard
    for job in yard.jobs.values():
        spec = yard.specifications[job.spec_id]
        if spec.queue != queue.arn:
            continue
        if job.is_array:
            yield from ((_front(spec, False), job.id, index) for index in bits(yard.arrays[job.id].ready()))
        elif job.status is S.RUNNABLE and job.node is None:
            yield (_front(spec, bool(job.attempts)), job.spec_id, -1 if job.index is None else job.index)


def _sum(rooms: Iterator[Resources]) -> Resources:
    total = NOTHING
    for room in rooms:
        total = total.plus(room)
    return total
