"""Room for all nodes of a multi-node parallel job at once, or for none (specification, section 2.9; docs/decisions/0016).

A job's nodes run in one environment: the first of its queue that could ever take them all. While that one is full the job waits,
even if a later environment had room, as on AWS. Nodes are never placed on Spot instances.

Each node gets an instance of its own where there is room for that many; where not, nodes share. A job that waits keeps the room that
it has found already from everybody behind it, so that two half-placed jobs cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batchyard.core import packing
from batchyard.core.growth import Growth, is_open, scalable
from batchyard.core.reclaiming import make_room_in
from batchyard.core.scratch_space import could_hold
from batchyard.model.capacity import NOTHING, Environment, Instance, Platform, Queue, Resources, Shape
from batchyard.model.job import Specification
from batchyard.model.view import YardView

Start = tuple[Shape, Resources]


def needs_of_nodes(spec: Specification) -> list[Resources]:
    """What each node needs, by its index."""
    return [group.needs for group in spec.nodes for _ in range(group.first, group.last + 1)]


def total(rooms: Sequence[Resources]) -> Resources:
    together = NOTHING
    for room in rooms:
        together = together.plus(room)
    return together


def takes_nodes(environment: Environment) -> bool:
    """Whether nodes may run there at all: AWS has no multi-node parallel jobs on Spot or Fargate, nor in UNMANAGED environments."""
    return not environment.spot and environment.platform is Platform.EC2 and environment.kind == "MANAGED"


def environment_of(view: YardView, queue: Queue, spec: Specification) -> Environment | None:
    """The environment where the nodes run; None while none could ever take them all."""
    for arn in queue.environments:
        environment = view.environments.get(arn)
        if environment is not None and is_open(environment) and could_take(view, environment, spec):
            return environment
    return None


def could_take(view: YardView, environment: Environment, spec: Specification) -> bool:
    """Whether all nodes would find room and scratch space in the environment, were all else gone."""
    return could_hold(view, environment.provider, spec.scratch_mib) and could_seat(view, environment, spec)


def could_seat(view: YardView, environment: Environment, spec: Specification) -> bool:
    """The same of room alone."""
    if not takes_nodes(environment):
        return False
    limits = packing.Limits(environment.max_vcpus, view.host_room(environment.provider))
    return bool(starts(shapes_for(view, environment, spec), needs_of_nodes(spec), limits))


def shapes_for(view: YardView, environment: Environment, spec: Specification) -> list[Shape]:
    """The instance types that may be started: if the job names one that one, and those that may be cut to any size stand in for it."""
    wanted = spec.nodes[0].instance_type
    return [s for s in view.shapes(environment.arn) if not wanted or not s.exact or s.name == wanted]


def is_fitting(view: YardView, instance: Instance, spec: Specification) -> bool:
    """Whether an instance is of the type that the job names."""
    wanted = spec.nodes[0].instance_type
    others = (s.name for s in view.shapes(instance.environment) if s.exact and s.name != wanted)
    return not wanted or instance.type_name not in others


def seat(needs: Sequence[Resources], rooms: Mapping[str, Resources]) -> tuple[list[str], dict[str, Resources]]:
    """The instance for each node ("" where it finds none), and what is left of `rooms` then; large nodes choose first.

    An instance each if that gives all of them a place, else they share.
    """
    order = sorted(range(len(needs)), key=lambda n: (needs[n].gpus, needs[n].memory_mib, needs[n].vcpus), reverse=True)
    for may_share in (False, True):
        seats, left, taken = [""] * len(needs), dict(rooms), set[str]()
        for node in order:
            free = left.items() if may_share else ((id, room) for id, room in left.items() if id not in taken)
            found = packing.tightest(needs[node], free)
            if found is not None:
                seats[node] = found
                taken.add(found)
                left[found] = left[found].minus(needs[node])
        if all(seats):
            break
    return seats, left


def starts(shapes: Sequence[Shape], needs: Sequence[Resources], limits: packing.Limits) -> list[list[Start]]:
    """The ways to start instances for nodes within limits, best first: one for each node, or shared ones. None: not all find room."""
    ordered = sorted(needs, key=lambda n: (n.gpus, n.memory_mib, n.vcpus), reverse=True)
    ways = [_start_each(shapes, ordered, limits), _start_shared(shapes, ordered, limits)]
    if len(shapes) > 1:
        ways += [_start_shared([shape], ordered, limits) for shape in shapes]
    return [way for way in ways if way is not None]


def _start_each(shapes: Sequence[Shape], needs: Sequence[Resources], limits: packing.Limits) -> list[Start] | None:
    chosen: list[Start] = []
    for one in needs:
        choice = packing.choose(shapes, [one], limits)
        if choice is None:
            return None
        chosen.append(choice)
        limits = _less(limits, choice[1])
    return chosen


def _start_shared(shapes: Sequence[Shape], needs: Sequence[Resources], limits: packing.Limits) -> list[Start] | None:
    chosen: list[Start] = []
    rest = list(needs)
    while rest:
        choice = packing.choose(shapes, rest, limits)
        if choice is None:
            return None
        chosen.append(choice)
        limits, room, unseated = _less(limits, choice[1]), choice[1], []
        for one in rest:
            if one.fits(room):
                room = room.minus(one)
            else:
                unseated.append(one)
        rest = unseated
    return chosen


def _less(limits: packing.Limits, room: Resources) -> packing.Limits:
    return packing.Limits(limits.vcpus - room.vcpus, None if limits.host is None else limits.host.minus(room))


def grow_for(growth: Growth, queue: Queue, spec: Specification, unseated: Sequence[Resources]) -> bool:
    """Start instances for the nodes that found no room, all of them or none; whether there is or will be room for all."""
    environment = environment_of(growth.view, queue, spec)
    if environment is None or environment.arn not in scalable(growth.view, queue):
        return False
    rest = [one for one in unseated if not growth.fits_coming(queue, one, environment.arn)]
    if not rest:
        return True
    shapes = shapes_for(growth.view, environment, spec)
    ways = starts(shapes, rest, growth.limits(environment))
    for shape, room in ways[0] if ways else ():
        growth.start(environment, shape, room, queue.arn)
    if not ways:
        _make_room(growth, queue, environment, shapes, rest, needs_of_nodes(spec))
    return bool(ways)


def _make_room(
    growth: Growth, queue: Queue, environment: Environment, shapes: Sequence[Shape], rest: Sequence[Resources], whole: Sequence[Resources]
) -> None:
    """For the nodes without room; if that cannot be, because what was found has the wrong form, for all of them anew."""
    limits = packing.Limits(environment.max_vcpus, growth.view.host_room(environment.provider))
    for needs, gives_own in ((rest, False), (whole, True)):
        for way in starts(shapes, needs, limits):
            if make_room_in(growth, queue, environment, total([room for _, room in way]), gives_own=gives_own):
                return
