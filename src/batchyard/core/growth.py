"""The bookkeeping of one round of scaling: what is coming, what is going, and what each environment and host have left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from batchyard.core import packing
from batchyard.model.capacity import NOTHING, Environment, Health, Instance, InstanceState, Queue, Resources, Shape, State
from batchyard.model.view import YardView


class StartWish(NamedTuple):
    """An instance to start. `launched_for` is the queue whose job called for it, "" for minvCpus."""

    environment: str
    shape: Shape
    room: Resources
    launched_for: str


class Growth:
    """What this round decides, and what is left after each decision. `busy` are instances that were given a job in this very cycle."""

    def __init__(self, view: YardView, busy: set[str]) -> None:
        self.view = view
        self.busy = busy
        self.kept: dict[str, str] = {}  # instance -> queue: free room that its head, a multi-node parallel job, keeps for its nodes
        self.ranks: dict[str, int] = {}  # queues whose heads found no room, in the order in which they are served now
        self.starts: list[StartWish] = []
        self.give_back: list[str] = []
        self.reclaims: list[str] = []
        self._scalable_for: dict[str, list[str]] = {}
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
        elif instance.state is InstanceState.PENDING and instance.generation == environment.generation:
            self.coming.append((environment.arn, instance.launched_for, instance.room))

    def _take(self, environment: Environment, room: Resources) -> None:
        self.left[environment.arn] -= room.vcpus
        host = self.host[environment.provider]
        if host is not None:
            self.host[environment.provider] = host.minus(room)

    def _release_later(self, environment: Environment, room: Resources) -> None:
        self.freeing[environment.provider] = self.freeing[environment.provider].plus(room)
        self.left_later[environment.arn] += room.vcpus

    def limits(self, environment: Environment) -> packing.Limits:
        """What an instance that is started now may have at most."""
        return packing.Limits(self.left[environment.arn], self.host[environment.provider])

    def start(self, environment: Environment, shape: Shape, room: Resources, launched_for: str) -> None:
        self.starts.append(StartWish(environment.arn, shape, room, launched_for))
        self._take(environment, room)

    def may_start_for(self, queue: Queue, needs: Resources) -> bool:
        """Whether an instance for such a job may be started now."""
        return self._choose(queue, [needs]) is not None

    def start_for(self, queue: Queue, demand: Sequence[Resources]) -> bool:
        """Start an instance for a queue's first waiting job and perhaps some behind it; False if none may be started now."""
        choice = self._choose(queue, demand)
        if choice is None:
            return False
        environment, shape, room = choice
        self.start(environment, shape, room, queue.arn)
        self.coming.append((environment.arn, queue.arn, room))
        return True

    def _scalable(self, queue: Queue) -> list[str]:
        arns = self._scalable_for.get(queue.arn)
        if arns is None:
            arns = self._scalable_for[queue.arn] = scalable(self.view, queue)
        return arns

    def _choose(self, queue: Queue, demand: Sequence[Resources]) -> tuple[Environment, Shape, Resources] | None:
        for arn in self._scalable(queue):
            environment = self.view.environments[arn]
            choice = packing.choose(self.view.shapes(arn), demand, self.limits(environment))
            if choice is not None:
                return environment, *choice
        return None

    def fits_coming(self, queue: Queue, needs: Resources, only: str = "") -> bool:
        """Whether an instance on its way, in the environment `only` if one is named, has room for a queue's job; takes that room."""
        for number, (arn, launched_for, room) in enumerate(self.coming):
            is_own = launched_for in ("", queue.arn) and only in ("", arn) and arn in self._scalable(queue)
            if is_own and packing.holds(self.view.environments[arn], room, needs):
                self.coming[number] = (arn, launched_for, room.minus(needs))
                return True
        return False

    def give(self, instance: Instance, *, notice: bool) -> None:
        """Take an instance away, at once or after a notice."""
        (self.reclaims if notice else self.give_back).append(instance.id)
        self._release_later(self.view.environments[instance.environment], instance.room)

    def will_do(self, environment: Environment, room: Resources, vcpus: float = 0, back: Resources = NOTHING) -> bool:
        """Whether what is left, what is on its way back, and `vcpus` of the environment and `back` of the host besides, hold `room`."""
        if self.left[environment.arn] + self.left_later[environment.arn] + vcpus < room.vcpus:
            return False
        host = self.host[environment.provider]
        return host is None or room.fits(host.plus(self.freeing[environment.provider]).plus(back))

    def keep(self, environment: Environment, room: Resources) -> None:
        """Keep `room` for a head that waits for it: from what is on its way back, and what that lacks from what is left."""
        later = min(self.left_later[environment.arn], room.vcpus)
        self.left_later[environment.arn] -= later
        self.left[environment.arn] -= room.vcpus - later
        host = self.host[environment.provider]
        if host is not None:
            back = _smaller(self.freeing[environment.provider], room)
            self.freeing[environment.provider] = self.freeing[environment.provider].minus(back)
            self.host[environment.provider] = host.minus(room.minus(back))


def is_open(environment: Environment) -> bool:
    """Whether the scheduler may place jobs there: ENABLED, and neither INVALID nor on its way out."""
    return environment.state is State.ENABLED and environment.health in (Health.VALID, Health.UPDATING)


def scalable(view: YardView, queue: Queue) -> list[str]:
    """The environments that may be scaled for a queue's waiting jobs, in order: with spill `idle` only the first."""
    arns = queue.environments[:1] if queue.spill_idle else queue.environments
    return [arn for arn in arns if (e := view.environments.get(arn)) and e.state is State.ENABLED and e.health is Health.VALID]


def _smaller(one: Resources, other: Resources) -> Resources:
    return Resources(min(one.vcpus, other.vcpus), min(one.memory_mib, other.memory_mib), min(one.gpus, other.gpus))
