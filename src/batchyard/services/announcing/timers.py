"""Schedules: makes an event when one is due. Which is due next is kept with the deliveries, so a firing happens once whatever crashes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import apsw

from batchyard.core.schedules import NextAfter
from batchyard.services.announcing.deliveries import Deliveries, Wanted
from batchyard.services.announcing.happening import Happening
from batchyard.store.shelf import Document, Drawer

log = logging.getLogger(__name__)

DUE = "due"
LONGEST_SLEEP_S = 30.0  # the clock of the wall may be set
AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Timer:
    """`key` names it across restarts, `expression` its schedule; `event_of` makes the event of a firing that was due at a moment (ms)."""

    key: str
    expression: str
    next_after: NextAfter
    event_of: Callable[[int], Happening]


class Timers:
    """One per server. A firing that was missed while the server was away happens once, when it is back."""

    def __init__(
        self,
        deliveries: Deliveries,
        find: Callable[[], Mapping[str, Timer]],
        wanted: Callable[[Happening], list[Wanted]],
        now_ms: Callable[[], int],
    ) -> None:
        self._deliveries = deliveries
        self._find = find
        self._wanted = wanted
        self._now_ms = now_ms
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._due: dict[str, Document] = dict(deliveries.look(lambda drawer: drawer.entries(DUE)))

    def start(self) -> None:
        """From now on what is due happens."""
        self._task = asyncio.ensure_future(self._run())

    def refresh(self) -> None:
        """The rules may have changed."""
        self._news.set()

    async def close(self) -> None:
        """Let go; what is due meanwhile happens after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                timers = self._find()
                await self._note_changes(timers)
                await self._fire(timers)
                soonest_ms = min((due["at_ms"] for due in self._due.values() if due["at_ms"] is not None), default=None)
                pause_s = LONGEST_SLEEP_S if soonest_ms is None else min(LONGEST_SLEEP_S, (soonest_ms - self._now_ms()) / 1000)
            except (apsw.Error, OSError):
                log.exception("what is due cannot be read or written; it is tried again")
                pause_s = AGAIN_S
            await _either(self._news.wait(), max(0.0, pause_s))

    async def _note_changes(self, timers: Mapping[str, Timer]) -> None:
        """Timers that are new or have another schedule than before begin now; those that are gone are forgotten."""
        gone = [key for key in self._due if key not in timers]
        fresh = {key: timer for key, timer in timers.items() if self._due.get(key, {}).get("expression") != timer.expression}
        if not gone and not fresh:
            return
        now_ms = self._now_ms()
        new: dict[str, Document] = {
            key: {"expression": timer.expression, "at_ms": timer.next_after(now_ms)} for key, timer in fresh.items()
        }

        def change(drawer: Drawer) -> None:
            for key in gone:
                drawer.delete(DUE, key)
            for key, due in new.items():
                drawer.put(DUE, key, due)

        await self._deliveries.change(change)
        for key in gone:
            del self._due[key]
        self._due.update(new)

    async def _fire(self, timers: Mapping[str, Timer]) -> None:
        """Keep the deliveries of each that is due and, in the same transaction, when it is due next."""
        now_ms = self._now_ms()
        for key, due in list(self._due.items()):
            if due["at_ms"] is None or due["at_ms"] > now_ms:
                continue
            timer = timers[key]
            following_ms = timer.next_after(due["at_ms"])
            if following_ms is not None and following_ms <= now_ms:  # the server was away for longer than from one firing to the next
                following_ms = timer.next_after(now_ms)
            new: Document = {"expression": timer.expression, "at_ms": following_ms}
            await self._deliveries.keep(self._wanted(timer.event_of(due["at_ms"])), kept={(DUE, key): new})
            self._due[key] = new


async def _either(news: Awaitable[object], timeout_s: float) -> None:
    """Until there is news, or the time is up."""
    try:
        await asyncio.wait_for(news, timeout_s)
    except TimeoutError:
        return
