"""Room for a head that finds its host or its environment full: which instances are taken away for it.

Idle slices go first, at once. Then, for on-demand work, Spot instances with work on them, after a notice: those whose every job
would be tried again first, then the youngest. Nothing is taken unless all of it together makes the room, and no Spot work of a
queue that comes before the head's: it would only take the room back. What is made is kept for the head, so that nobody behind it
starts an instance there meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchyard.core import packing
from batchyard.core.growth import Growth, scalable
from batchyard.model.capacity import NOTHING, Environment, Instance, InstanceState, Queue, Resources
from batchyard.model.view import YardView


def make_room(growth: Growth, queue: Queue, needs: Resources) -> None:
    """In the first environment that could take the head and where there is something to take away, or on its way already."""
    for arn in scalable(growth.view, queue):
        environment = growth.view.environments[arn]
        room = least_room(growth.view, environment, needs)
        if room is not None and make_room_in(growth, queue, environment, room):
            return


def make_room_in(growth: Growth, queue: Queue, environment: Environment, room: Resources, *, gives_own: bool = False) -> bool:
    """Take away what it needs for `room` to be there, and keep that; False, and nothing is taken, if it cannot be made.

    With `gives_own` also what the queue's own head keeps is given away.
    """
    victims: list[tuple[Instance, bool]] = []
    if not growth.will_do(environment, room):
        victims = _victims(growth, queue, environment, room, gives_own)
        if not victims:
            return False
    for instance, notice in victims:
        growth.give(instance, notice=notice)
    growth.keep(environment, room)
    return True


def least_room(view: YardView, environment: Environment, needs: Resources) -> Resources | None:
    """The room of the smallest instance that the environment could start for a job, were all else gone; None if there is none."""
    limits = packing.Limits(environment.max_vcpus, view.host_room(environment.provider))
    choices = (packing.choose([shape], [needs], limits) for shape in view.shapes(environment.arn))
    return min((room for choice in choices if choice is not None for room in choice[1:]), default=None)


def is_idle(view: YardView, instance: Instance) -> bool:
    """Running, and nothing runs on it."""
    return instance.state is InstanceState.RUNNING and not view.attempts_on(instance.id)


def staying_vcpus(view: YardView, environment: Environment) -> float:
    """The vCPUs of the instances that count towards minvCpus: those that stay."""
    return sum(i.room.vcpus for i in view.environment_instances(environment.arn).values() if is_staying(i, environment))


def is_staying(instance: Instance, environment: Environment) -> bool:
    """Neither on its way out nor outdated."""
    return (
        instance.state is not InstanceState.STOPPING
        and instance.reclaim_at_ms is None
        and not instance.drained
        and instance.generation == environment.generation
    )


def _victims(growth: Growth, queue: Queue, environment: Environment, room: Resources, gives_own: bool) -> list[tuple[Instance, bool]]:
    """The instances to take away, each with whether it gets a notice; none if even all of them would not make the room."""
    chosen: list[tuple[Instance, bool]] = []
    vcpus, back = 0.0, NOTHING
    for instance, notice in _candidates(growth, queue, environment, gives_own):
        own = instance.environment == environment.arn
        if not own and growth.left[environment.arn] + growth.left_later[environment.arn] + vcpus < room.vcpus:
            continue  # the environment's own bound is short: others cannot help
        chosen.append((instance, notice))
        back = back.plus(instance.room)
        vcpus += instance.room.vcpus if own else 0
        if growth.will_do(environment, room, vcpus, back):
            return chosen
    return []


def _candidates(growth: Growth, queue: Queue, environment: Environment, gives_own: bool) -> list[tuple[Instance, bool]]:
    """What may be taken away for a head of `queue` in `environment`, in this order; True: after a notice."""
    view = growth.view
    gone = {*growth.give_back, *growth.reclaims, *growth.busy, *_kept_from(growth, queue, gives_own)}
    near = [
        i
        for i in view.instances.values()
        if i.state is InstanceState.RUNNING
        and i.reclaim_at_ms is None
        and i.id not in gone
        and view.environments[i.environment].provider == environment.provider
    ]
    idle = [i for i in near if is_idle(view, i) and _may_go(view, i, environment)]
    idle.sort(key=lambda i: i.environment != environment.arn)
    spot = [] if environment.spot else [i for i in near if i.spot and view.attempts_on(i.id) and not _comes_before(view, i, queue)]
    spot.sort(key=lambda i: _victim_order(view, i))
    return [(i, False) for i in idle] + [(i, True) for i in spot]


def _kept_from(growth: Growth, queue: Queue, gives_own: bool) -> Iterator[str]:
    """The instances that heads of queues which come before `queue` keep for their nodes, and its own unless it gives them."""
    own = growth.ranks.get(queue.arn, len(growth.ranks))
    for instance, keeper in growth.kept.items():
        rank = growth.ranks.get(keeper, own)
        if rank < own or (rank == own and not gives_own):
            yield instance


def _may_go(view: YardView, instance: Instance, environment: Environment) -> bool:
    """An idle instance goes for its own environment's job, or for another's unless its environment keeps it for minvCpus."""
    owner = view.environments[instance.environment]
    return owner.arn == environment.arn or staying_vcpus(view, owner) - instance.room.vcpus >= owner.min_vcpus


def _comes_before(view: YardView, instance: Instance, queue: Queue) -> bool:
    """Whether an instance was launched for a queue of higher priority."""
    launched_for = view.queues.get(instance.launched_for)
    return launched_for is not None and launched_for.priority > queue.priority


def _victim_order(view: YardView, instance: Instance) -> tuple[bool, int]:
    hurts = not all(view.attempts_on(instance.id).values())
    return hurts, -instance.launched_at_ms
