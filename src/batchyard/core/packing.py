"""Which instance a job fits best, and which instance type is best for waiting jobs. Fits are exact: equal is enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batchyard.model.capacity import Environment, Platform, Resources, Shape

MAX_CARVED_VCPUS = 4  # a slice cut for several jobs is no larger than this, so that losing one loses little


def tightest(needs: Resources, rooms: Iterable[tuple[str, Resources]]) -> str | None:
    """The id of the room that `needs` fits with the least left over; the first of equals; None if there is none."""
    best, best_left = None, None
    for key, room in rooms:
        if needs.vcpus <= room.vcpus and needs.memory_mib <= room.memory_mib and needs.gpus <= room.gpus:
            left = (room.gpus - needs.gpus, room.memory_mib - needs.memory_mib, room.vcpus - needs.vcpus)
            if best_left is None or left < best_left:
                best, best_left = key, left
    return best


def holds(environment: Environment, room: Resources, needs: Resources) -> bool:
    """Whether a job goes into what is free of an instance. On Fargate each task has a slice of its own, of exactly its size."""
    return needs.of_instance == room if environment.platform is Platform.FARGATE else needs.fits(room)


class Limits(NamedTuple):
    """What a new instance may have at most: what the environment's maxvCpus leaves and what the host has left."""

    vcpus: float
    host: Resources | None

    def allow(self, room: Resources) -> bool:
        return room.vcpus <= self.vcpus and (self.host is None or room.fits(self.host))


def choose(shapes: Sequence[Shape], demand: Sequence[Resources], limits: Limits) -> tuple[Shape, Resources] | None:
    """The type to start for waiting jobs (`demand`, first come first) and its room; None if no type can take the first within limits.

    `shapes` come cheapest per vCPU first. An exact type is taken as it is: the smallest that the first job fits, of the cheapest
    family. Any other is cut to what the jobs need, a single one to the first job.
    """
    for shape in shapes:
        if not demand[0].fits(shape.room):
            continue
        room = demand[0].of_instance if shape.single else shape.room if shape.exact else _carve(demand, shape.room, limits)
        if limits.allow(room):
            return shape, room
    return None


def _carve(demand: Sequence[Resources], largest: Resources, limits: Limits) -> Resources:
    """Room for as many of the first jobs as MAX_CARVED_VCPUS and the limits allow, and no more than they need."""
    room = demand[0].of_instance
    ceiling = max(MAX_CARVED_VCPUS, demand[0].vcpus)
    for needs in demand[1:]:
        more = room.plus(needs)
        if more.vcpus > ceiling or not more.fits(largest) or not limits.allow(_whole(more)):
            break
        room = more
    return _whole(room)


def _whole(room: Resources) -> Resources:
    return Resources(math.ceil(room.vcpus), room.memory_mib, room.gpus)
