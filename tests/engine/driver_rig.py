"""A driver over a real store, with a provider of which the test is the author."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine_bench import CE, Q
from msgspec import Raw

from batchyard.core.scheduling import Rules
from batchyard.engine.driver import Driver
from batchyard.engine.engine import Engine, Options
from batchyard.engine.launching import AttemptKeys, Launcher
from batchyard.model.capacity import Environment, Queue, Resources
from batchyard.model.job import Specification
from batchyard.model.messages import Effect, InstanceUp, Launch, StartInstance
from batchyard.model.requests import Edit, Submit
from batchyard.simulate.world import FalseWorld
from batchyard.store.sql import Store


class Scripted:
    """A provider that writes down what it is told; the test reports. `told` is set whenever something comes."""

    name = "local"

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.acknowledged: list[str] = []
        self.announced = 0
        self.closed = False
        self.epoch = 0
        self.told = asyncio.Event()

    async def start(self, deliver: Callable[..., None], epoch: int) -> None:
        self.deliver, self.epoch = deliver, epoch

    def carry_out(self, effects: Sequence[Effect]) -> None:
        self.effects.extend(effects)
        self.told.set()

    def acknowledge(self, attempts: Sequence[str]) -> None:
        self.acknowledged.extend(attempts)

    def announce(self) -> None:
        self.announced += 1

    async def close(self) -> None:
        self.closed = True


class Rig:
    """A driver over a store on disk, whose commits the test can hold up or break."""

    def __init__(self, path: Path, *, idle_s: float = 60.0) -> None:
        self.world = FalseWorld(1, Resources(8, 8192))
        self.store = Store(path)
        self.engine = Engine(self.store, self.world, Options(Rules(idle_s=idle_s)))
        self.provider = Scripted()
        self.given_up = False
        launcher = Launcher({"PATH": "/bin"}, "http://here", lambda order: AttemptKeys("key", "secret", order.attempt.id))
        self.driver = Driver(self.engine, {"local": self.provider}, launcher, self._give_up)
        self.gate = threading.Event()
        self.gate.set()
        self.committing, self.committed = threading.Event(), threading.Event()
        self.afterwards = threading.Event()  # cleared: what is written stays unseen
        self.afterwards.set()
        self._commit = self.store.commit
        self.store.commit = self._held_commit  # type: ignore[method-assign]
        self.broken = 0

    def _give_up(self) -> None:
        self.given_up = True

    def _held_commit(self) -> None:
        self.committing.set()
        assert self.gate.wait(60)
        if self.broken:
            self.broken -= 1
            self.store.abandon()
            raise OSError("no space left on device")
        self._commit()
        self.committed.set()
        assert self.afterwards.wait(60)

    async def in_commit(self) -> None:
        """Wait until a commit is on its way."""
        await asyncio.to_thread(self.committing.wait, 60)
        self.committing.clear()

    def spec(self) -> Specification:
        id = self.world.job_id(self.world.now)
        return Specification(
            id=id,
            account="1",
            region="r",
            name="n",
            queue=Q,
            definition="arn:d/d:1",
            needs=Resources(1, 100),
            effective=Raw(b'{"command":["echo","hi"],"environment":[{"name":"MINE","value":"1"}]}'),
        )

    def submit(self) -> tuple[str, asyncio.Future[Any]]:
        spec = self.spec()
        return spec.id, self.driver.ask(Submit(spec))

    async def settle(self) -> None:
        await self.driver.settled()


async def begin(rig: Rig) -> None:
    await rig.driver.start()
    environment = Environment(
        arn=CE, name="ce", account="1", region="r", uuid="u", kind="MANAGED", max_vcpus=8, instance_types=("optimal",)
    )
    queue = Queue(arn=Q, name="q", account="1", region="r", priority=1, environments=(CE,))
    await rig.driver.ask(Edit(lambda catalogue: catalogue.put(environment)))
    await rig.driver.ask(Edit(lambda catalogue: catalogue.put(queue)))
    rig.committing.clear()


async def run_one(rig: Rig) -> tuple[str, Launch]:
    """A job as far as its Launch."""
    id, asked = rig.submit()
    await asked
    (start,) = [e for e in rig.provider.effects if isinstance(e, StartInstance)]
    rig.provider.deliver([InstanceUp(start.instance.id, rig.world.now)])
    await rig.settle()
    return id, next(e for e in rig.provider.effects if isinstance(e, Launch) and e.job_id == id)
