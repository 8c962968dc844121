"""How many instances there should be: those that waiting jobs and minvCpus call for, and those that nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from batchyard.core import gangs, packing
from batchyard.core.growth import Growth, scalable
from batchyard.core.reclaiming import is_idle, is_staying, least_room, make_room, staying_vcpus
from batchyard.core.scratch_space import could_hold
from batchyard.model.capacity import Environment, Health, Instance, InstanceState, Queue, Resources, Shape, State
from batchyard.model.view import Waiting, YardView

MIB_PER_VCPU = 4096  # of an instance for minvCpus, where no host says how much there is


class Unplaced(NamedTuple):
    """A queue whose head found no room, and those behind it; lazy, because most often nobody needs to look at them."""

    queue: Queue
    head: Waiting
    behind: Iterator[Waiting]
    is_held: bool = False  # it waits for what no instance brings: room kept for shares that are not active, or scratch space
    unseated: Sequence[Resources] = ()  # of a multi-node parallel job: what the nodes need that found no room


def grow(view: YardView, unplaced: Sequence[Unplaced], busy: set[str], kept: Mapping[str, str] | None = None) -> Growth:
    """What to start, what idle to give back and what Spot to reclaim, for jobs that found no room and for minvCpus.

    Among queues of one priority those that want on-demand instances come first: what was reclaimed from Spot for them must not
    go back to it.
    """
    growth = Growth(view, busy)
    growth.kept = dict(kept or {})
    ordered = sorted(unplaced, key=lambda one: (-one.queue.priority, not one.head.spec.nodes and _wants_spot(view, one.queue)))
    growth.ranks = {waiting.queue.arn: rank for rank, waiting in enumerate(ordered)}
    for waiting in ordered:
        _grow_for(growth, waiting)
    for environment in view.environments.values():
        _keep_minimum(growth, environment)
    return growth


def _wants_spot(view: YardView, queue: Queue) -> bool:
    return any(view.environments[arn].spot for arn in scalable(view, queue)[:1])


def _grow_for(growth: Growth, waiting: Unplaced) -> None:
    queue, head = waiting.queue, waiting.head.spec.needs
    demand: list[Resources] = []
    if waiting.head.spec.nodes:
        if not gangs.grow_for(growth, queue, waiting.head.spec, waiting.unseated):
            return
    elif not growth.fits_coming(queue, head):
        if not growth.may_start_for(queue, head):
            make_room(growth, queue, head)
            return
        demand.append(head)
    demand.extend(job.spec.needs for job in waiting.behind if not job.spec.nodes)
    position = 0
    while position < len(demand):
        if growth.fits_coming(queue, demand[position]):
            position += 1
        elif not growth.start_for(queue, demand[position:]):
            return


def _keep_minimum(growth: Growth, environment: Environment) -> None:
    """Start what minvCpus (kept even when DISABLED) or a desiredvCpus set by hand calls for."""
    if environment.health is not Health.VALID or environment.kind != "MANAGED":
        return
    wanted = float(environment.min_vcpus)
    if environment.state is State.ENABLED:
        wanted = max(wanted, min(environment.wanted_vcpus, environment.max_vcpus))
    planned = sum(s.room.vcpus for s in growth.starts if s.environment == environment.arn)
    missing = wanted - planned - staying_vcpus(growth.view, environment)
    while missing > 0:
        choice = _for_minimum(growth, environment, missing)
        if choice is None:
            return
        shape, room = choice
        growth.start(environment, shape, room, "")
        missing -= room.vcpus


def _for_minimum(growth: Growth, environment: Environment, missing: float) -> tuple[Shape, Resources] | None:
    """A slice with as much memory per vCPU as the host has, or the first exact type that is allowed."""
    limits = growth.limits(environment)
    vcpus = min(missing, packing.MAX_CARVED_VCPUS, limits.vcpus)
    memory_mib = vcpus * MIB_PER_VCPU
    whole = growth.view.host_room(environment.provider)
    if limits.host is not None and whole is not None:
        vcpus = min(vcpus, limits.host.vcpus)
        memory_mib = min(limits.host.memory_mib, vcpus * whole.memory_mib / max(whole.vcpus, 1))
    if vcpus < 1 or memory_mib < 1:
        return None
    shapes = growth.view.shapes(environment.arn)
    slice = Resources(int(vcpus), int(memory_mib))
    return packing.choose(shapes, [slice], limits) or packing.choose([s for s in shapes if s.exact], [Resources(1, 1)], limits)


def shrink(view: YardView, now_ms: int, idle_s: float, busy: set[str]) -> tuple[list[str], int | None]:
    """Instances without work to stop now, and when to look again.

    Outdated and unwanted ones go at once, also those still on their way, and so do those with a notice; all others once they were
    idle for their time, and never below minvCpus.
    """
    stops: list[str] = []
    wake: int | None = None
    for environment in view.environments.values():
        staying = staying_vcpus(view, environment)
        keep_s = idle_s if environment.idle_s is None else environment.idle_s
        for instance in view.environment_instances(environment.arn).values():
            if instance.state is InstanceState.STOPPING or instance.id in busy or view.attempts_on(instance.id):
                continue
            if environment.health is Health.DELETING or not is_staying(instance, environment):
                stops.append(instance.id)
                continue
            if not is_idle(view, instance) or staying - instance.room.vcpus < environment.min_vcpus:
                continue
            due_ms = _idle_since_ms(instance, now_ms) + int(keep_s * 1000)
            if due_ms <= now_ms:
                stops.append(instance.id)
                staying -= instance.room.vcpus
            else:
                wake = due_ms if wake is None else min(wake, due_ms)
    return stops, wake


def _idle_since_ms(instance: Instance, now_ms: int) -> int:
    return now_ms if instance.idle_since_ms is None else instance.idle_since_ms


def is_possible(view: YardView, queue: Queue, needs: Resources) -> bool:
    """Whether some environment of the queue could ever take such a job, were all else gone. An UNMANAGED one may get any instance."""
    return any(
        (environment := view.environments.get(arn)) is not None
        and could_hold(view, environment.provider, needs.scratch_mib)
        and (environment.kind == "UNMANAGED" or least_room(view, environment, needs) is not None)
        for arn in queue.environments
    )
