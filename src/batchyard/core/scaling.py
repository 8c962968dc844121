"""How many instances there should be: those that waiting jobs and minvCpus call for, and those that nobody needs any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from batchyard.core import packing
from batchyard.model.capacity import NOTHING, Environment, Health, Instance, InstanceState, Queue, Resources, Shape, State
from batchyard.model.view import Waiting, YardView


class StartWish(NamedTuple):
    """An instance to start. `launched_for` is the queue whose job called for it, "" for minvCpus."""

    environment: str
    shape: Shape
    room: Resources
    launched_for: str


class _Growth:
    """The bookkeeping of one round: what is already coming, what each environment and host have left."""

    def __init__(self, view: YardView) -> None:
        self.view = view
        self.starts: list[StartWish] = []
        self.give_back: list[str] = []
        self.reclaims: list[str] = []
        self.coming: list[tuple[str, str, Resources]] = []  # environment, launched for, room still free in it
        self.left: dict[str, float] = {arn: e.max_vcpus for arn, e in view.environments.items()}
        self.left_later: dict[str, float] = dict.fromkeys(view.environments, 0.0)  # vCPUs of those on their way out
        self.host: dict[str, Resources | None] = {}
        self.freeing: dict[str, Resources] = {}  # room that instances on their way out will give back
        for arn, environment in view.environments.items():
            self.host.setdefault(environment.provider, view.host_room(environment.provider))
            self.freeing.setdefault(environment.provider, NOTHING)
            for instance in view.environment_instances(arn).values():
                self._count(environment, instance)

    def _count(self, environment: Environment, instance: Instance) -> None:
        self._take(environment, instance.room)
        if instance.state is InstanceState.STOPPING or instance.reclaim_at_ms is not None:
            self._release_later(environment, instance.room)
        elif instance.state is InstanceState.PENDING and instance.generation == environment.generation and not instance.drained:
            self.coming.append((environment.arn, instance.launched_for, instance.room))

    def _take(self, environment: Environment, room: Resources) -> None:
        self.left[environment.arn] -= room.vcpus
        host = self.host[environment.provider]
        if host is not None:
            self.host[environment.provider] = host.minus(room)

    def _release_later(self, environment: Environment, room: Resources) -> None:
        self.freeing[environment.provider] = self.freeing[environment.provider].plus(room)
        self.left_later[environment.arn] += room.vcpus

    def start(self, environment: Environment, shape: Shape, room: Resources, launched_for: str) -> None:
        self.starts.append(StartWish(environment.arn, shape, room, launched_for))
        self._take(environment, room)

    def limits(self, environment: Environment) -> packing.Limits:
        return packing.Limits(self.left[environment.arn], self.host[environment.provider])

    def give(self, environment: Environment, instance: Instance, *, notice: bool) -> None:
        (self.reclaims if notice else self.give_back).append(instance.id)
        self._release_later(environment, instance.room)


def grow(
    view: YardView, unplaced: Sequence[tuple[Queue, list[Waiting]]], rooms: dict[str, dict[str, Resources]]
) -> tuple[list[StartWish], list[str], list[str]]:
    """Instances to start, idle ones to give back and Spot ones to reclaim, for jobs that found no room and for minvCpus."""
    growth = _Growth(view)
    for queue, jobs in unplaced:
        _grow_for(growth, queue, jobs)
    for environment in view.environments.values():
        _keep_minimum(growth, environment)
    return growth.starts, growth.give_back, growth.reclaims


def _grow_for(growth: _Growth, queue: Queue, jobs: list[Waiting]) -> None:
    needs = [job.spec.needs for job in jobs]
    position = 0
    while position < len(needs):
        if _fits_coming(growth, queue, needs[position]):
            position += 1
            continue
        if not _start_one(growth, queue, needs[position:]):
            if position == 0:
                _make_room(growth, queue, needs[0])
            return


def _fits_coming(growth: _Growth, queue: Queue, needs: Resources) -> bool:
    for number, (arn, launched_for, room) in enumerate(growth.coming):
        if arn in scalable(growth.view, queue) and needs.fits(room) and launched_for in ("", queue.arn):
            growth.coming[number] = (arn, launched_for, room.minus(needs))
            return True
    return False


def scalable(view: YardView, queue: Queue) -> list[str]:
    """The environments that may be scaled for a queue's waiting jobs, in order: with spill `idle` only the first."""
    arns = queue.environments[:1] if queue.spill_idle else queue.environments
    return [arn for arn in arns if (e := view.environments.get(arn)) and e.state is State.ENABLED and e.health is Health.VALID]


def _start_one(growth: _Growth, queue: Queue, demand: list[Resources]) -> bool:
    for arn in scalable(growth.view, queue):
        environment = growth.view.environments[arn]
        choice = packing.choose(growth.view.shapes(arn), demand, growth.limits(environment))
        if choice is not None:
            shape, room = choice
            growth.start(environment, shape, room, queue.arn)
            growth.coming.append((arn, queue.arn, room))
            return True
    return False


def _make_room(growth: _Growth, queue: Queue, needs: Resources) -> None:
    """The head finds the host or its environment full: idle slices go first, then Spot ones if on-demand work needs the room."""
    for arn in scalable(growth.view, queue):
        environment = growth.view.environments[arn]
        if not _possible_in(growth.view, environment, needs):
            continue
        if _enough(growth, environment, needs, 0, NOTHING):
            return
        victims = _victims(growth, environment, needs)
        for instance, notice in victims:
            growth.give(growth.view.environments[instance.environment], instance, notice=notice)
        if victims:
            return


def _victims(growth: _Growth, environment: Environment, needs: Resources) -> list[tuple[Instance, bool]]:
    """The instances to take away, each with whether it gets a notice; none if even all of them would not make the room."""
    chosen: list[tuple[Instance, bool]] = []
    vcpus, back = 0.0, NOTHING
    for instance, notice in _candidates(growth, environment):
        own = instance.environment == environment.arn
        if not own and growth.left[environment.arn] + growth.left_later[environment.arn] + vcpus < needs.vcpus:
            continue  # the environment's own bound is short: others cannot help
        chosen.append((instance, notice))
        back = back.plus(instance.room)
        vcpus += instance.room.vcpus if own else 0
        if _enough(growth, environment, needs, vcpus, back):
            return chosen
    return []


def _candidates(growth: _Growth, environment: Environment) -> list[tuple[Instance, bool]]:
    """First what is idle (the environment's own first), then, for on-demand work, Spot instances: retryable jobs first, then the
    youngest."""
    view = growth.view
    going = {*growth.give_back, *growth.reclaims}
    near = [i for i in view.instances.values() if view.environments[i.environment].provider == environment.provider and i.id not in going]
    idle = [i for i in near if _is_idle(view, i) and _may_go(view, i, environment)]
    idle.sort(key=lambda i: i.environment != environment.arn)
    spot = [] if environment.spot else [i for i in near if i.spot and i.reclaim_at_ms is None and i.state is InstanceState.RUNNING]
    busy = sorted((i for i in spot if view.attempts_on(i.id)), key=lambda i: _victim_order(view, i))
    return [(i, False) for i in idle] + [(i, True) for i in busy]


def _may_go(view: YardView, instance: Instance, environment: Environment) -> bool:
    """An idle instance goes for its own environment's job, or for another's unless its environment keeps it for minvCpus."""
    owner = view.environments[instance.environment]
    return owner.arn == environment.arn or _environment_vcpus(view, owner) - instance.room.vcpus >= owner.min_vcpus


def _enough(growth: _Growth, environment: Environment, needs: Resources, vcpus: float, back: Resources) -> bool:
    """Whether what is left, with what is on its way back and `vcpus`/`back` more, will do."""
    if growth.left[environment.arn] + growth.left_later[environment.arn] + vcpus < needs.vcpus:
        return False
    host = growth.host[environment.provider]
    return host is None or needs.fits(host.plus(growth.freeing[environment.provider]).plus(back))


def _is_idle(view: YardView, instance: Instance) -> bool:
    return instance.state is InstanceState.RUNNING and instance.reclaim_at_ms is None and not view.attempts_on(instance.id)


def _victim_order(view: YardView, instance: Instance) -> tuple[bool, int]:
    """Those whose every job would be tried again first, then the youngest."""
    hurts = not all(view.attempts_on(instance.id).values())
    return hurts, -instance.launched_at_ms


def _keep_minimum(growth: _Growth, environment: Environment) -> None:
    """Start what minvCpus (kept even when DISABLED) or a desiredvCpus set by hand calls for."""
    if environment.health is not Health.VALID or environment.kind != "MANAGED":
        return
    wanted = environment.min_vcpus
    if environment.state is State.ENABLED:
        wanted = max(wanted, min(environment.wanted_vcpus, environment.max_vcpus))
    planned = sum(s.room.vcpus for s in growth.starts if s.environment == environment.arn)
    missing = wanted - planned - _environment_vcpus(growth.view, environment)
    while missing > 0:
        whole = growth.view.host_room(environment.provider)
        per_vcpu = 4096 if whole is None else int(whole.memory_mib / max(whole.vcpus, 1))
        vcpus = min(missing, packing.MAX_CARVED_VCPUS)
        demand = [Resources(vcpus, int(vcpus * per_vcpu)), Resources(1, 1)]
        limits = growth.limits(environment)
        choice = packing.choose(growth.view.shapes(environment.arn), demand[:1], limits) or packing.choose(
            growth.view.shapes(environment.arn), demand[1:], limits
        )
        if choice is None:
            return
        shape, room = choice
        growth.start(environment, shape, room, "")
        missing -= room.vcpus


def _environment_vcpus(view: YardView, environment: Environment) -> float:
    """The vCPUs of the instances that count towards minvCpus: those that stay."""
    return sum(
        i.room.vcpus
        for i in view.environment_instances(environment.arn).values()
        if i.state is not InstanceState.STOPPING and i.reclaim_at_ms is None and not i.drained and i.generation == environment.generation
    )


def shrink(view: YardView, now_ms: int, idle_s: float, busy: set[str]) -> tuple[list[str], int | None]:
    """Idle instances to stop now, and when to look again. Never below minvCpus, except where instances are outdated or unwanted."""
    stops: list[str] = []
    wake: int | None = None
    for environment in view.environments.values():
        staying = _environment_vcpus(view, environment)
        keep_s = idle_s if environment.idle_s is None else environment.idle_s
        unwanted = environment.health is Health.DELETING
        for instance in view.environment_instances(environment.arn).values():
            if instance.id in busy or not _is_idle(view, instance):
                continue
            if unwanted or instance.drained or instance.generation != environment.generation:
                stops.append(instance.id)
                continue
            if staying - instance.room.vcpus < environment.min_vcpus:
                continue
            since_ms = now_ms if instance.idle_since_ms is None else instance.idle_since_ms
            due_ms = since_ms + int(keep_s * 1000)
            if due_ms <= now_ms:
                stops.append(instance.id)
                staying -= instance.room.vcpus
            else:
                wake = due_ms if wake is None else min(wake, due_ms)
    return stops, wake


def is_possible(view: YardView, queue: Queue, needs: Resources) -> bool:
    """Whether some environment of the queue could ever take such a job, were all else gone."""
    return any(
        (environment := view.environments.get(arn)) is not None and _possible_in(view, environment, needs) for arn in queue.environments
    )


def _possible_in(view: YardView, environment: Environment, needs: Resources) -> bool:
    limits = packing.Limits(environment.max_vcpus, view.host_room(environment.provider))
    return packing.choose(view.shapes(environment.arn), [needs], limits) is not None
