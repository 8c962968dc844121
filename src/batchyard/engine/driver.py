"""Drives the engine from the event loop: one turn after another, one write in flight, answers only when the write is durable.

The statements of a turn run on the loop; only its COMMIT, with the sync to disk, runs in a helper thread. What arrives meanwhile is
the next turn's batch, so under load one sync serves many requests. If a write fails, everyone who waited for it is told, the engine
is rebuilt from the store, and the providers are asked what they hold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from batchyard.compute.provider import Provider
from batchyard.engine.cannot_launch import CannotLaunch
from batchyard.engine.dispatch import LaunchOrder, Order
from batchyard.engine.engine import Engine, Turn
from batchyard.engine.launching import NO_TAGS, Launcher
from batchyard.model.fault import Fault
from batchyard.model.messages import AttemptEnded, Effect, Report
from batchyard.model.requests import Request
from batchyard.model.task import ContainerEnd
from batchyard.store.records import Changes

log = logging.getLogger(__name__)

MAX_BATCH = 1000  # requests in a turn: what is more goes into the next, so that no turn keeps the loop for long

Asked = tuple[Request, "asyncio.Future[Any]"]


class Driver:
    """One per server. `start` connects the providers; `ask` is the only way to change anything.

    `give_up` is called when the store can be neither written nor read.
    """

    def __init__(
        self, engine: Engine, providers: Mapping[str, Provider], launcher: Launcher, give_up: Callable[[], None] = lambda: None
    ) -> None:
        self.engine = engine
        self._providers = providers
        self._launcher = launcher
        self._give_up = give_up
        self.watchers: list[Callable[[Changes], None]] = []  # called with what a turn changed, once that is durable
        self.turn_s = 0.0  # that turns have kept the loop, in all
        self._asked: list[Asked] = []
        self._reports: list[Report] = []
        self._writing = False
        self._due = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._level = asyncio.Event()  # cleared while a turn is being written, which the yard is then ahead of the ledger by
        self._level.set()
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for provider in self._providers.values():
            await provider.start(self.deliver, self.engine.store.epoch)
        self._kick()

    async def settled(self) -> None:
        """Wait until all that has arrived is decided and written."""
        await self._idle.wait()

    async def level(self) -> None:
        """Wait until the turn that is being written, if one is, can be read: then the yard, the ledger and the store say the same."""
        await self._level.wait()

    async def close(self) -> None:
        """Finish the turn that is being written, then let go of the providers; jobs go on."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        await self._idle.wait()
        for _request, future in self._asked:
            if not future.done():
                future.set_exception(Fault("ServerException", "The server is stopping."))
        for provider in self._providers.values():
            await provider.close()
        self._committer.shutdown()

    def ask(self, request: Request) -> asyncio.Future[Any]:
        """The answer, once it is durable; a Fault if it was refused."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closing:
            future.set_exception(Fault("ServerException", "The server is stopping."))
            return future
        self._asked.append((request, future))
        self._kick()
        return future

    def deliver(self, reports: Sequence[Report]) -> None:
        """Providers bring what they saw."""
        self._reports.extend(reports)
        self._kick()

    def _kick(self) -> None:
        """Begin a turn with the loop's next round, so that all that arrives in this round is in it."""
        if not self._writing and not self._due and not self._closing:
            self._due = True
            self._idle.clear()
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        begun_s = time.perf_counter()
        asked, self._asked = self._asked[:MAX_BATCH], self._asked[MAX_BATCH:]
        reports, self._reports = self._reports, []
        try:
            turn = self.engine.decide([request for request, _ in asked], reports, self.engine.world.now_ms())
            if turn.changes:
                self.engine.store.stage(turn.changes)
        except Exception as error:  # noqa: BLE001  (logged and told to all who waited, in _failed)
            self._failed(asked, error)
            return
        if not turn.changes:
            self._done(asked, turn)
            self.turn_s += time.perf_counter() - begun_s
            return
        self._writing = True
        self._level.clear()
        commit = self._loop.run_in_executor(self._committer, self.engine.store.commit)
        self.turn_s += time.perf_counter() - begun_s
        commit.add_done_callback(lambda done: self._written(asked, turn, done.exception()))

    def _written(self, asked: list[Asked], turn: Turn, error: BaseException | None) -> None:
        self._writing = False
        if error is None:
            begun_s = time.perf_counter()
            self.engine.merge(turn)
            self._level.set()  # whoever waits looks before the next turn begins
            self._done(asked, turn)
            for watch in self.watchers:
                watch(turn.changes)
            self.turn_s += time.perf_counter() - begun_s
        else:
            self._failed(asked, error)

    def _done(self, asked: list[Asked], turn: Turn) -> None:
        for (_request, future), answer in zip(asked, turn.answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Fault):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._carry_out(turn.effects)
        if turn.acknowledge:
            for provider in self._providers.values():
                provider.acknowledge(turn.acknowledge)
        self._rest(turn.wake_at_ms)

    def _failed(self, asked: list[Asked], error: BaseException) -> None:
        """Nothing of the turn is kept. What the store holds is the truth; providers repeat what they have not seen acknowledged."""
        log.error("a turn could not be written and was dropped: %s", error, exc_info=error)
        for _request, future in asked:
            if not future.done():
                future.set_exception(Fault("ServerException", f"The request could not be stored and was not accepted: {error}"))
        try:
            self.engine.rebuild()
        except Exception:
            log.critical("the store cannot be read either: the server gives up", exc_info=True)
            self._closing = True
            self._level.set()
            self._idle.set()
            self._give_up()
            return
        self._level.set()
        for provider in self._providers.values():
            provider.announce()
        self._rest(None)

    def _rest(self, wake_at_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (self._asked or self._reports) and not self._closing:
            self._kick()
            return
        self._idle.set()
        if wake_at_ms is not None and not self._closing:
            delay_s = max(0.005, (wake_at_ms - self.engine.world.now_ms()) / 1000)
            self._timer = self._loop.call_later(delay_s, self._kick)

    def _carry_out(self, orders: Sequence[Order]) -> None:
        by_provider: dict[str, list[Effect]] = {}
        for provider, effect in orders:
            sent = self._launch(effect) if isinstance(effect, LaunchOrder) else effect
            if sent is not None:
                by_provider.setdefault(provider, []).append(sent)
        for provider, effects in by_provider.items():
            self._providers[provider].carry_out(effects)

    def _launch(self, order: LaunchOrder) -> Effect | None:
        """The effect; None for an attempt that cannot start, which is reported as a provider would do it."""
        ledger = self.engine.ledger
        definition = ledger.definitions.get(order.spec.definition)
        tags = definition.tags if definition else NO_TAGS
        environment, queue = ledger.environments[order.attempt.environment], ledger.queues[order.spec.queue]
        try:
            return self._launcher.launch(order, environment, queue, tags)
        except CannotLaunch as why:
            now_ms = self.engine.world.now_ms()
            ends = (ContainerEnd(name=why.container, reason=str(why)),) if why.container else ()
            self.deliver([AttemptEnded(order.attempt.id, now_ms, "not-started", reason=str(why), containers=ends)])
            return None
