"""A yard of plain lists for the core: what the scheduler sees, written down by hand in a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchyard.core.fairshare import in_turn
from batchyard.core.lifecycle import host_lost
from batchyard.core.retries import would_survive_loss
from batchyard.model.capacity import NOTHING, Environment, Instance, InstanceState, Queue, Resources, Scratch, Shape
from batchyard.model.consumable import Consumable, Consumption
from batchyard.model.fairshare import SchedulingPolicy, Sharing, Standing
from batchyard.model.job import Specification
from batchyard.model.view import Passing, Waiting

HOST = Resources(8, 16384)
CARVED = (Shape("optimal", HOST, exact=False),)
NOW = 1_000_000


class PlainYard:
    """Implements `model.view.YardView`. Names double as ARNs."""

    def __init__(self, host: Resources | None = HOST) -> None:
        self.host = host
        self.environments: dict[str, Environment] = {}
        self.queues: dict[str, Queue] = {}
        self.instances: dict[str, Instance] = {}
        self.consumables: dict[str, Consumable] = {}
        self.held: dict[str, int] = {}
        self.waiting: dict[str, list[Waiting]] = {}
        self.policies: dict[str, SchedulingPolicy] = {}
        self.shares: dict[str, dict[str, Standing]] = {}
        self.running: dict[str, dict[str, tuple[Resources, bool]]] = {}
        self.scratches: dict[str, Scratch] = {"local": Scratch(True, "", 1 << 20, 0, 0)}  # what is promised besides what `running` says
        self._shapes: dict[str, Sequence[Shape]] = {}

    # --- what a test writes down ---

    def environment(self, name: str = "ce", *, shapes: Sequence[Shape] = CARVED, max_vcpus: int = 100, **more: Any) -> Environment:
        types = tuple(s.name for s in shapes)
        fields = {"kind": "MANAGED", "max_vcpus": max_vcpus, "instance_types": types, **more}
        self.environments[name] = Environment(arn=name, name=name, account="1", region="r", uuid="u", **fields)
        self._shapes[name] = shapes
        return self.environments[name]

    def queue(self, name: str = "q", environments: Sequence[str] = ("ce",), priority: int = 1, **more: Any) -> Queue:
        self.queues[name] = Queue(arn=name, name=name, account="1", region="r", priority=priority, environments=tuple(environments), **more)
        return self.queues[name]

    def consumable(self, name: str, total: int, *, held: int = 0, **more: Any) -> None:
        """A consumable resource of which attempts hold so much."""
        self.consumables[name] = Consumable(arn=name, name=name, account="1", region="r", total=total, **more)
        self.held[name] = held

    def fair(self, queue: str = "q", reservation: int = 0, decay_s: int = 0) -> None:
        """Make a queue a fair-share queue; `share` and `wait` say how its shares stand."""
        self.policies[queue] = SchedulingPolicy(arn="p", name="p", account="1", region="r", decay_s=decay_s, reservation=reservation)

    def share(
        self, name: str, queue: str = "q", *, weight: float = 1, used: float = 0, held: float = 0, active: bool = True, run_s: float = 200
    ) -> None:
        self.shares.setdefault(queue, {})[name] = Standing(name, weight, used, held, active, run_s)

    def wait(
        self,
        needs: tuple[float, int] | Resources,
        queue: str = "q",
        name: str = "",
        child: int | None = None,
        share: str = "",
        priority: int = 0,
        **wants: int,
    ) -> Waiting:
        """A ready job at the end of a queue, or of those of its priority in its share."""
        there = self.waiting.setdefault(queue, [])
        id = name or f"{queue}-{len(there)}"
        spec = Specification(
            id=id,
            account="1",
            region="r",
            name=id,
            queue=queue,
            definition="d:1",
            needs=Resources(*needs),
            array_size=0 if child is None else 9,
            share=share,
            priority=priority,
            consumables=tuple(Consumption(resource, quantity) for resource, quantity in wants.items()),
        )
        if share and share not in self.shares.get(queue, {}):
            self.share(share, queue)
        there.append(Waiting(id, spec, child, 1))
        return there[-1]

    def instance(
        self,
        id: str,
        room: tuple[float, int] | Resources,
        environment: str = "ce",
        *,
        runs: Sequence[tuple[float, int]] = (),
        attempts: int = 2,
        **more: Any,
    ) -> Instance:
        """An instance with attempts on it that hold `runs`; with `attempts=1` a loss of it would not be survived."""
        fields = {"state": InstanceState.RUNNING, "type_name": "t", "spot": self.environments[environment].spot, **more}
        self.instances[id] = Instance(id=id, environment=environment, room=Resources(*room), **fields)
        for number, needs in enumerate(runs):
            spec = Specification(
                id="x", account="1", region="r", name="x", queue="q", definition="d", needs=Resources(*needs), attempts=attempts
            )
            survives = would_survive_loss(spec, 1, host_lost(id))
            self.running.setdefault(id, {})[f"{id}-{number}"] = (spec.needs, survives)
        return self.instances[id]

    # --- the view ---

    @property
    def open_queues(self) -> Sequence[Queue]:
        ordered = sorted(self.queues.values(), key=lambda q: (-q.priority, q.created_at_ms, q.arn))
        return [q for q in ordered if self.waiting.get(q.arn)]

    def ready(self, queue: str, passing: Passing = ()) -> Iterator[Waiting]:
        sharing = self.sharing(queue)
        if sharing is not None:
            return in_turn(sharing, lambda share: self._ready(queue, share, passing), passing)
        return self._ready(queue, "", passing)

    def _ready(self, queue: str, share: str, passing: Passing) -> Iterator[Waiting]:
        there = sorted((w for w in self.waiting.get(queue, ()) if w.spec.share == share), key=lambda w: -w.spec.priority)
        yield from (w for w in there if w.spec.needs not in passing and w.spec.consumables not in passing)

    def policy_of(self, queue: str) -> SchedulingPolicy | None:
        return self.policies.get(queue)

    def sharing(self, queue: str) -> Sharing | None:
        if queue not in self.policies:
            return None
        firsts: dict[str, str] = {}
        for waiting in self.waiting.get(queue, ()):
            firsts.setdefault(waiting.spec.share, waiting.job_id)
        return Sharing(self.policies[queue], [s._replace(first=firsts.get(n, "")) for n, s in self.shares.get(queue, {}).items()])

    def in_use(self, resource: str) -> int:
        return self.held.get(resource, 0)

    def free(self, instance: str) -> Resources:
        taken = NOTHING
        for needs, _ in self.running.get(instance, {}).values():
            taken = taken.plus(needs)
        return self.instances[instance].room.minus(taken)

    def attempts_on(self, instance: str) -> Mapping[str, bool]:
        return {attempt: survives for attempt, (_, survives) in self.running.get(instance, {}).items()}

    def environment_instances(self, environment: str) -> Mapping[str, Instance]:
        return {i.id: i for i in self.instances.values() if i.environment == environment}

    def shapes(self, environment: str) -> Sequence[Shape]:
        return self._shapes[environment]

    def host_room(self, provider: str) -> Resources | None:
        return self.host if provider == "local" else None

    def scratch(self, provider: str) -> Scratch | None:
        seen = self.scratches.get(provider)
        held = sum(needs.scratch_mib for there in self.running.values() for needs, _ in there.values())
        return seen and seen._replace(promised_mib=seen.promised_mib + held)


def exact(name: str, vcpus: float, memory_mib: int, gpus: int = 0) -> Shape:
    return Shape(name, Resources(vcpus, memory_mib, gpus))
