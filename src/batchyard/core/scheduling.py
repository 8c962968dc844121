"""The main cycle: a view of the yard and the time give a plan. Pure; the engine applies it in the same turn.

Order (specification, section 3): queues by priority, highest first; within a queue strictly first come first served, retried jobs
before all others; in a fair-share queue in the order of `fairshare.py`. A job at the head that finds no room *blocks* its queue, so
that small jobs cannot starve a large one. The exceptions: a job that no environment of its queue could ever take lets others pass
when `rules.pass_impossible` is set (profile `open`; AWS lets it block), and so does one that lacks consumable resources (see
`consumables.py`). Scratch space that is short blocks like memory (see `scratch_space.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec.structs import replace

from batchyard.core import fairshare, gangs, packing, scaling
from batchyard.core.consumables import Stock
from batchyard.core.growth import StartWish, scalable
from batchyard.core.growth import is_open as is_open
from batchyard.core.scaling import Unplaced
from batchyard.core.scratch_space import Kept, Promises
from batchyard.model.capacity import Environment, Instance, InstanceState, Platform, Queue, Resources
from batchyard.model.consumable import Wants
from batchyard.model.job import Specification
from batchyard.model.view import Waiting, YardView

MAX_PASSED = 1000  # kinds of jobs that cannot be placed and that one cycle looks past, per queue
LOOK_AHEAD = 256  # waiting jobs behind a blocked head that count as demand


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided. Times in seconds."""

    pass_impossible: bool = True
    idle_s: float = 60.0


@dataclass(slots=True)
class Plan:
    """What to do now. `blocked` holds, per queue, the job at the head that found no room."""

    placements: list[tuple[Waiting, str]] = field(default_factory=list)
    gangs: list[tuple[Waiting, tuple[str, ...]]] = field(default_factory=list)  # multi-node jobs, with an instance for each node
    kept: dict[str, str] = field(default_factory=dict)  # instance -> the queue whose blocked multi-node job keeps its room
    scratch_kept: dict[str, list[Kept]] = field(default_factory=dict)  # provider -> scratch space that blocked jobs keep
    starts: list[StartWish] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)  # idle instances: at once, without notice
    reclaims: list[str] = field(default_factory=list)  # Spot instances with work on them: with notice
    blocked: dict[str, str] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)  # queues whose turn in this cycle has come
    wake_at_ms: int | None = None


def plan(view: YardView, now_ms: int, rules: Rules) -> Plan:
    """One cycle."""
    made = Plan()
    # 1. what room there is on instances that take jobs
    rooms = _rooms(view)
    # 2. jobs into that room, queue by queue, head by head
    unplaced: list[Unplaced] = []
    stock, promises = Stock(view), Promises(view)
    for queue in view.open_queues:
        made.served.add(queue.arn)
        rest = _place(view, queue, rooms, stock, promises, rules, made)
        if rest is not None:
            made.blocked[queue.arn] = _name(rest.head)
            if not rest.is_held:
                unplaced.append(rest)
    made.scratch_kept = promises.kept
    # 3. instances for those that found none, and for minvCpus
    busy = {instance for _waiting, instance in made.placements}.union(*(instances for _waiting, instances in made.gangs))
    growth = scaling.grow(view, unplaced, busy, made.kept)
    made.starts, made.reclaims = growth.starts, growth.reclaims
    # 4. idle instances away: those that others need the room of now, and those that were idle for long enough
    idle, made.wake_at_ms = scaling.shrink(view, now_ms, rules.idle_s, busy | made.kept.keys())
    made.stops = list(dict.fromkeys((*growth.give_back, *idle)))
    return made


def _name(waiting: Waiting) -> str:
    return waiting.job_id if waiting.child is None else f"{waiting.job_id}:{waiting.child}"


Rooms = dict[str, dict[str, Resources]]  # environment -> instance -> what is free there


def _rooms(view: YardView) -> Rooms:
    rooms: Rooms = {}
    for instance in view.instances.values():
        environment = view.environments.get(instance.environment)
        if environment is not None and takes_jobs(instance, environment):
            rooms.setdefault(instance.environment, {})[instance.id] = view.free(instance.id)
    return rooms


def takes_jobs(instance: Instance, environment: Environment) -> bool:
    return (
        instance.state is InstanceState.RUNNING
        and instance.reclaim_at_ms is None
        and not instance.drained
        and instance.generation == environment.generation
        and is_open(environment)
    )


def _place(view: YardView, queue: Queue, rooms: Rooms, stock: Stock, promises: Promises, rules: Rules, made: Plan) -> Unplaced | None:
    """Place from the head of `queue` until one finds no room; that one and some behind it are returned."""
    passing: set[Resources | Wants | str] = set()  # their jobs stay where they are, and so do all that need the same
    waiting = view.ready(queue.arn, passing)
    most, left = fairshare.allowance(view, queue)[:2]  # vCPUs: what shares that are not active leave to the others
    for job in waiting:
        if len(passing) > MAX_PASSED:
            break
        needs, wants = job.spec.needs, job.spec.consumables
        if wants and not stock.take(wants):
            passing.add(wants)
            continue
        vcpus = job.spec.vcpus
        if job.spec.nodes:
            unseated = _place_gang(view, queue, job, rooms, promises, rules, made) if vcpus <= left else gangs.needs_of_nodes(job.spec)
            if unseated and (vcpus <= most or not rules.pass_impossible):
                return _stop_at(view, queue, job, waiting, stock, promises, left, unseated)
            if made.gangs and made.gangs[-1][0] is job:
                left -= vcpus
            else:
                stock.give_back(wants)
                passing.add(job.job_id)
            continue
        instance = _find(view, queue, needs, rooms, promises, made) if vcpus <= left else None
        if instance is not None:
            left -= needs.vcpus
            made.placements.append((job, instance))
        elif not rules.pass_impossible or (needs.vcpus <= most and scaling.is_possible(view, queue, needs)):
            return _stop_at(view, queue, job, waiting, stock, promises, left)
        else:
            stock.give_back(wants)
            passing.add(needs)
    return None


def _stop_at(
    view: YardView,
    queue: Queue,
    head: Waiting,
    behind: Iterator[Waiting],
    stock: Stock,
    promises: Promises,
    left: float,
    unseated: Sequence[Resources] = (),
) -> Unplaced:
    """The head finds no room. `left`: vCPUs that are not kept from the queue."""
    is_held = head.spec.vcpus > left
    is_short = promises.is_short(queue, head.spec.scratch_mib)
    if not is_held and _could_start(view, queue, head.spec):
        promises.keep(queue, head.spec.scratch_mib)
    return Unplaced(queue, head, _behind(queue, behind, stock, promises, left - head.spec.vcpus), is_held or is_short, unseated)


def _could_start(view: YardView, queue: Queue, spec: Specification) -> bool:
    """Whether it could, if nothing else ran, where instances are started for it: one that only waits to be lent room may wait for ever."""
    scaled = scalable(view, queue)
    if spec.nodes:
        environment = gangs.environment_of(view, queue, spec)
        return environment is not None and environment.arn in scaled
    return scaling.is_possible(view, replace(queue, environments=tuple(scaled)), spec.needs)


def _behind(queue: Queue, waiting: Iterator[Waiting], stock: Stock, promises: Promises, left: float) -> Iterator[Waiting]:
    """Those behind a blocked head that count as demand: they lack nothing but room, and `left` vCPUs are not kept from them."""
    served = (other for other in waiting if not other.spec.consumables or stock.take(other.spec.consumables))
    covered = (other for other in served if promises.reserve(queue, other.spec.scratch_mib))
    return islice(fairshare.within(covered, left), LOOK_AHEAD)


def _place_gang(view: YardView, queue: Queue, job: Waiting, rooms: Rooms, promises: Promises, rules: Rules, made: Plan) -> list[Resources]:
    """All nodes at once; else those that find no room are returned, and what the others found is kept. None are: placed, or passed."""
    environment, needs = gangs.environment_of(view, queue, job.spec), gangs.needs_of_nodes(job.spec)
    if environment is None:
        return [] if rules.pass_impossible else needs
    if not promises.offers(environment, job.spec.scratch_mib):
        return needs
    is_lent = queue.spill_idle and environment.arn != queue.environments[0]
    there = rooms.get(environment.arn, {})
    usable = {
        id: room
        for id, room in there.items()
        if gangs.is_fitting(view, view.instances[id], job.spec) and (not is_lent or is_spare(view, view.instances[id], queue, made))
    }
    seats, left = gangs.seat(needs, usable)
    if all(seats):
        there.update(left)
        promises.take(environment, job.spec.scratch_mib)
        made.gangs.append((job, tuple(seats)))
        return []
    if not is_lent:  # room that is only lent is not kept from those whose it is
        there.update(left)
        for id in filter(None, seats):
            made.kept.setdefault(id, queue.arn)
    return [one for one, id in zip(needs, seats, strict=True) if not id]


def _find(view: YardView, queue: Queue, needs: Resources, rooms: Rooms, promises: Promises, made: Plan) -> str | None:
    """The instance to run on, tried in the order of the queue's environments; takes the room and the scratch space."""
    for order, arn in enumerate(queue.environments):
        there = rooms.get(arn)
        if not there:
            continue
        environment = view.environments[arn]
        if not promises.offers(environment, needs.scratch_mib):
            continue
        candidates: Iterable[tuple[str, Resources]] = there.items()
        if environment.platform is Platform.FARGATE:
            candidates = [(i, room) for i, room in candidates if packing.holds(environment, room, needs)]
        if order and queue.spill_idle:
            candidates = [(i, room) for i, room in candidates if is_spare(view, view.instances[i], queue, made)]
        instance = packing.tightest(needs, candidates)
        if instance is not None:
            there[instance] = there[instance].minus(needs)
            promises.take(environment, needs.scratch_mib)
            return instance
    return None


def is_spare(view: YardView, instance: Instance, queue: Queue, made: Plan) -> bool:
    """Spill `idle` takes no room from an instance that was launched for another queue's job which still waits."""
    caller = view.queues.get(instance.launched_for)
    if caller is None or caller.arn == queue.arn:
        return True
    if caller.arn in made.served:
        return caller.arn not in made.blocked
    return next(view.ready(caller.arn), None) is None  # its turn in this cycle is still to come
