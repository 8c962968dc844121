"""What is still to be delivered, kept on a shelf of its own until the listener has taken it: at least once, in order, bounded.

A listener that does not answer is tried again after 0.5 s, 1 s, 2 s ... up to a minute, each event for a day; one that took something
meanwhile, after 0.5 s again. Of more than `MOST` events for one listener the oldest are dropped. Both are counted, and one listener never
holds up another.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import NamedTuple, TypeVar

import apsw

from batchyard.services.announcing.listeners import Listener, Notice, Refused, TryLater
from batchyard.store.shelf import Document, Drawer, Place, Shelf

log = logging.getLogger(__name__)

MOST = 100_000  # that wait for one listener
AT_ONCE = 50
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
DAY_MS = 86_400_000
SENDERS = 8
HERE = Place("announcing", "", "")
Answer = TypeVar("Answer")


class Wanted(NamedTuple):
    """One delivery that is to be kept."""

    listener: str
    notice: Notice


class _Went(Enum):
    """What of a page went out."""

    ALL = "all"
    SOME = "some"
    NOTHING = "nothing"


class Deliveries:
    """Over the file of `shelf`, which is theirs alone. `listeners` gives who there is now, by key."""

    def __init__(self, shelf: Shelf, listeners: Callable[[], Mapping[str, Listener]], now_ms: Callable[[], int]) -> None:
        self._shelf = shelf
        self._listeners = listeners
        self._now_ms = now_ms
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="deliver")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._waiting: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()  # by why
        self.delivered = 0
        state = shelf.look(HERE, lambda drawer: drawer.get("state", "state")) or {}
        self.told = int(state.get("told", 0))
        self._next = int(state.get("next", 0))

    def start(self) -> None:
        """Take up what was left when the service ended; what was meant for listeners that are gone is dropped."""
        for key, _ in self._shelf.look(HERE, lambda drawer: drawer.entries("listener")):
            if key in self._listeners():
                self._waiting[key] = self._shelf.look(HERE, functools.partial(_count, key))
                self._wake(key)
            else:
                self._shelf.change(HERE, functools.partial(_forget, key))

    async def keep(self, wanted: Sequence[Wanted], told: int | None = None, kept: Mapping[tuple[str, str], Document] | None = None) -> None:
        """Make these durable, and with them that all moves up to `told` were handed on, and the documents of `kept` by kind and name.

        Then they are on their way.
        """
        numbered: list[tuple[str, str, Document]] = []
        for key, notice in wanted:
            self._next += 1
            numbered.append((key, f"{self._next:020d}", {"id": notice.id, "at_ms": notice.at_ms, "text": notice.text}))
        next_number = self._next

        def change(drawer: Drawer) -> None:
            for key in {key for key, _, _ in numbered}:
                drawer.put("listener", key, {})
            for key, name, document in numbered:
                drawer.put(_kind(key), name, document)
            for (kind, name), document in (kept or {}).items():
                drawer.put(kind, name, document)
            state = drawer.get("state", "state") or {}
            drawer.put("state", "state", {"told": state.get("told", 0) if told is None else told, "next": next_number})

        await asyncio.wrap_future(self._shelf.change(HERE, change))
        if told is not None:
            self.told = told  # not before: what found no room on the disk is told again
        counts = Counter(key for key, _, _ in numbered)
        for key, count in counts.items():
            self._waiting[key] += count
            self._wake(key)

    def look(self, ask: Callable[[Drawer], Answer]) -> Answer:
        """The answer of `ask` on what is kept beside the deliveries."""
        return self._shelf.look(HERE, ask)

    async def change(self, act: Callable[[Drawer], Answer]) -> Answer:
        """What `act` returned, once what it changed beside the deliveries is durable."""
        return await asyncio.wrap_future(self._shelf.change(HERE, act))

    def waiting(self) -> Mapping[str, int]:
        """How many wait, by the listener's key."""
        return +self._waiting

    async def close(self) -> None:
        """Let go: what was not delivered is, after the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wake(self, key: str) -> None:
        self._news.setdefault(key, asyncio.Event()).set()
        task = self._tasks.get(key)
        if task is None or task.done():
            self._tasks[key] = asyncio.ensure_future(self._deliver(key))

    async def _deliver(self, key: str) -> None:
        """One listener's deliveries, for as long as there are any."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._news[key].clear()
            try:
                page = await self._page(key)
                if not page:
                    await self._news[key].wait()
                    continue
                went = await self._send(key, page)
            except (apsw.Error, OSError):
                log.exception("what is to be delivered to %s cannot be read or written; it is tried again", key)
                went = _Went.NOTHING
            if went is not _Went.NOTHING:
                pause_s = FIRST_PAUSE_S
            if went is not _Went.ALL:
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _page(self, key: str) -> list[tuple[str, Notice]]:
        """The oldest that wait, after those that are too old or too many were dropped."""
        excess = self._waiting[key] - MOST
        if excess > 0:
            oldest = self._shelf.look(HERE, lambda drawer: drawer.entries(_kind(key), limit=min(excess, 1000)))
            await self._drop(key, [name for name, _ in oldest], "too many waited")
            return await self._page(key)
        entries = self._shelf.look(HERE, lambda drawer: drawer.entries(_kind(key), limit=AT_ONCE))
        old = [name for name, document in entries if document["at_ms"] < self._now_ms() - DAY_MS]
        if old:
            await self._drop(key, old, "a day old")
            return await self._page(key)
        return [(name, Notice(d["id"], d["at_ms"], d["text"])) for name, d in entries]

    async def _send(self, key: str, page: Sequence[tuple[str, Notice]]) -> _Went:
        """What of the page went out. One that is refused is over as well: the next one may be tried at once."""
        listener = self._listeners().get(key)
        if listener is None:
            await self._drop(key, [name for name, _ in page], "the listener is gone")
            return _Went.ALL
        notices, names = [notice for _, notice in page], [name for name, _ in page]
        try:
            taken = await self._handed_to(listener, notices)
        except Refused as refusal:
            log.warning("an event is not delivered to %s: %s", key, refusal)
            await self._drop(key, names[:1], "refused")
            return _Went.ALL
        except TryLater as trouble:
            log.info("%s does not take events now: %s", key, trouble)
            return _Went.NOTHING
        self.delivered += taken
        await self._delete(key, names[:taken])
        return _Went.ALL if taken == len(page) else _Went.SOME if taken else _Went.NOTHING

    async def _handed_to(self, listener: Listener, notices: Sequence[Notice]) -> int:
        if listener.take is not None:
            return await listener.take(notices)
        assert listener.send is not None
        return await asyncio.get_running_loop().run_in_executor(self._pool, listener.send, notices)

    async def _drop(self, key: str, names: Sequence[str], why: str) -> None:
        self.dropped[why] += len(names)
        await self._delete(key, names)

    async def _delete(self, key: str, names: Iterable[str]) -> None:
        names = list(names)
        await asyncio.wrap_future(self._shelf.change(HERE, lambda drawer: [drawer.delete(_kind(key), name) for name in names]))
        self._waiting[key] -= len(names)


def _kind(key: str) -> str:
    return f"to/{key}"


def _count(key: str, drawer: Drawer) -> int:
    return drawer.count(_kind(key))


def _forget(key: str, drawer: Drawer) -> None:
    for name in drawer.names(_kind(key)):
        drawer.delete(_kind(key), name)
    drawer.delete("listener", key)
