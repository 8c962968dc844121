"""Hands what the engine has committed on to who listens: it follows the durable moves, renders each once, and keeps the deliveries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from batchyard.engine.engine import Engine
from batchyard.engine.noting import MOST_MOVES
from batchyard.services.announcing import happening
from batchyard.services.announcing.deliveries import Deliveries, Wanted
from batchyard.services.announcing.happening import Happening
from batchyard.services.announcing.listeners import Listener, Notice
from batchyard.services.announcing.timers import Timer, Timers
from batchyard.services.announcing.webhooks import json_of
from batchyard.store.records import Changes
from batchyard.store.shelf import Shelf

log = logging.getLogger(__name__)

MOVES_AT_ONCE = 100
EVENTS_AT_ONCE = 500
AGAIN_S = 2.0

Find = Callable[[], Mapping[str, Listener]]
FindTimers = Callable[[], Mapping[str, Timer]]


class Announcer:
    """One per server. `find` gives who listens now, `find_timers` what is to happen when; `refresh` is to be called whenever that may
    have changed."""

    def __init__(self, engine: Engine, shelf: Shelf, find: Find, find_timers: FindTimers) -> None:
        self._engine = engine
        self._find = find
        self._listeners: Mapping[str, Listener] = {}
        self._news = asyncio.Event()
        self._told_blocked: dict[str, tuple[str, str]] = {}
        self._task: asyncio.Task[None] | None = None
        self.deliveries = Deliveries(shelf, lambda: self._listeners, engine.world.now_ms)
        self._timers = Timers(self.deliveries, find_timers, self._wanted, engine.world.now_ms)
        self.refresh()

    def refresh(self) -> None:
        """Look up who listens. Only while somebody does, the engine writes moves down."""
        self._listeners = self._find()
        self._engine.noting.is_wanted = any(listener.is_for_bus for listener in self._listeners.values())
        self._news.set()
        self._timers.refresh()

    def start(self, desk: Any) -> None:
        """Take up what an earlier server left. `desk` is what rendering a job needs."""
        if self.deliveries.told > self._engine.store.last_move():  # the engine's file is an older copy
            self.deliveries.told = 0
        self._engine.noting.told = self.deliveries.told
        self.deliveries.start()
        self._timers.start()
        self._task = asyncio.ensure_future(self._follow(desk))
        self._news.set()

    @property
    def moves_dropped(self) -> int:
        """Moves that were not written down, because too many were still to be handed on."""
        return self._engine.noting.dropped

    def note(self, changes: Changes) -> None:
        """A turn is durable (see `Driver.watchers`)."""
        if self._listeners or changes.moves:
            self._news.set()

    async def publish(self, events: Iterable[Happening], told: int | None = None) -> None:
        """Keep a delivery of each event for each listener that wants it; durable when it returns."""
        wanted = [one for event in events for one in self._wanted(event)]
        if wanted or told is not None:
            await self.deliveries.keep(wanted, told)

    async def tell(self, events: Iterable[tuple[Happening, Collection[str]]]) -> None:
        """As `publish`; each event goes to the listeners of these keys as well, who want what is meant for them alone."""
        events = list(events)
        if not {key for _, keys in events for key in keys} <= self._listeners.keys():
            self.refresh()
        now_ms = self._engine.world.now_ms()
        wanted = [one for event, _ in events for one in self._wanted(event)]
        wanted += [Wanted(key, Notice(event["id"], now_ms, json_of(event))) for event, keys in events for key in keys]
        if wanted:
            await self.deliveries.keep(wanted)

    def _wanted(self, event: Happening) -> list[Wanted]:
        """The deliveries of an event: one for each listener that wants it."""
        now_ms = self._engine.world.now_ms()
        texts = [(listener.key, listener.text_of(event)) for listener in self._listeners.values()]
        return [Wanted(key, Notice(event["id"], now_ms, text)) for key, text in texts if text is not None]

    async def close(self) -> None:
        """Let go; what was not handed on is, after the next start."""
        await self._timers.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.deliveries.close()

    async def _follow(self, desk: Any) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._tell_moves(desk)
                await self._tell_blocked(desk)
            except Exception:  # the disk is full, say: jobs must go on all the same, and what is not told yet stays in the store
                log.exception("events could not be made or kept; it is tried again")
                self._news.set()
                await asyncio.sleep(AGAIN_S)

    async def _tell_moves(self, desk: Any) -> None:
        noting = self._engine.noting
        while moves := self._engine.store.moves(self.deliveries.told, noting.seen, MOVES_AT_ONCE):
            events: list[Happening] = []
            for move in moves:
                for event in happening.of_move(desk, move):
                    events.append(event)
                    if len(events) >= EVENTS_AT_ONCE:
                        await self.publish(events)
                        events = []
            await self.publish(events, moves[-1].seq)
            noting.told = self.deliveries.told
            noting.room = min(MOST_MOVES, noting.room + len(moves))

    async def _tell_blocked(self, desk: Any) -> None:
        """Queues whose head is stuck for a reason that AWS has a name for: once per job and reason."""
        stuck = {job.id: (job, spec, words) for job, spec, words in desk.read.blocked()}
        now = {spec.queue: (job.id, words) for job, spec, words in stuck.values()}
        news = [stuck[id] for queue, (id, words) in now.items() if self._told_blocked.get(queue) != (id, words)]
        now_ms = self._engine.world.now_ms()
        events: Sequence[Happening] = [happening.of_blocked(desk, job, spec, words, now_ms) for job, spec, words in news]
        await self.publish(events)
        self._told_blocked = now
