"""Events of many streams in one order of time, a page at a time, with a bound on what one request looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

from batchyard.store.logs_stream import EVENT_OVERHEAD_BYTES, Event, Gap, Stream

LOOKED_AT_MAX = 100_000
_PAGE_EVENTS = 256
_PAGE_BYTES = 262_144

Place = tuple[int, str, int, int]
"""(timestamp, stream, source, place): where an event stands among those of a group."""


class Query(NamedTuple):
    """What is searched for: `start_ms` is inside, `end_ms` outside the range; `after` is where the last page stopped."""

    start_ms: int
    end_ms: int
    wanted: Callable[[bytes], bool]
    newest_first: bool = False
    after: Place | None = None


class Found(NamedTuple):
    """A page of events. `stopped_at` is where the next page goes on; None when there is nothing more."""

    events: list[Event]
    stopped_at: Place | None


def search(streams: Iterable[Stream], query: Query, limit: int, bytes_max: int, looked_at_max: int = LOOKED_AT_MAX) -> Found:
    """The next events that are wanted. A page may be short, or empty, and still say that there is more."""
    events: list[Event] = []
    size = 0
    last = query.after
    for looked_at, event in enumerate(interleaved(streams, query)):
        wanted = query.wanted(event.message)
        size += (len(event.message) + EVENT_OVERHEAD_BYTES) if wanted else 0
        if len(events) == limit or looked_at == looked_at_max or (wanted and events and size > bytes_max):
            return Found(events, last)
        last = place_of(event)
        if wanted:
            events.append(event)
    return Found(events, None)


def place_of(event: Event) -> Place:
    return event.timestamp_ms, event.stream, event.source, event.place


class _Turn:
    """A stream's next event in the heap; in a search from the newest on, the order is turned round."""

    __slots__ = ("event", "newest_first", "place", "rest")

    def __init__(self, event: Event, rest: Iterator[Event], newest_first: bool) -> None:
        self.event = event
        self.place = place_of(event)
        self.rest = rest
        self.newest_first = newest_first

    def __lt__(self, other: _Turn) -> bool:
        return self.place > other.place if self.newest_first else self.place < other.place


def interleaved(streams: Iterable[Stream], query: Query) -> Iterator[Event]:
    """All events of the streams in the query's range and order, wanted or not; opened and read as they are taken."""
    waiting = _by_bound(streams, query)
    sign = -1 if query.newest_first else 1
    turns: list[_Turn] = []
    while waiting or turns:
        # A stream is opened only when the first of its events can be next: thousands of them cost nothing until then.
        while waiting and (not turns or waiting[-1][0] <= sign * turns[0].event.timestamp_ms):
            rest = _events(waiting.pop()[1], query)
            first = next(rest, None)
            if first is not None:
                heappush(turns, _Turn(first, rest, query.newest_first))
        if not turns:
            continue
        turn = turns[0]
        yield turn.event
        following = next(turn.rest, None)
        if following is None:
            heappop(turns)
        else:
            heapreplace(turns, _Turn(following, turn.rest, query.newest_first))


def _by_bound(streams: Iterable[Stream], query: Query) -> list[tuple[int, Stream]]:
    """The streams that may have something in range, each with a bound on when, the one to open first at the end."""
    low, high = query.start_ms, query.end_ms
    if query.after is not None:
        low, high = (low, min(high, query.after[0] + 1)) if query.newest_first else (max(low, query.after[0]), high)
    bounds = []
    for stream in streams:
        try:
            span = stream.span_ms()
        except FileNotFoundError:  # deleted since it was listed
            continue
        if span is not None and span[1] >= low and span[0] < high:
            bounds.append((-span[1] if query.newest_first else span[0], stream))
    bounds.sort(key=lambda bound: bound[0], reverse=True)
    return bounds


def _events(stream: Stream, query: Query) -> Iterator[Event]:
    """The events of one stream that are in range and behind `query.after`, a small page in memory at a time."""
    try:
        gap, more = _start(stream, query), True
        while more:
            if query.newest_first:
                page = stream.before(gap, query.start_ms, _PAGE_EVENTS, _PAGE_BYTES)
                gap = gap.ahead_of(page)
            else:
                page = stream.after(gap, query.end_ms, _PAGE_EVENTS, _PAGE_BYTES)
                gap = gap.behind(page)
            more = bool(page)
            for event in page:
                if query.after is None or (place_of(event) < query.after if query.newest_first else place_of(event) > query.after):
                    yield event
    except FileNotFoundError:
        return


def _start(stream: Stream, query: Query) -> Gap:
    if not query.newest_first:
        return stream.gap_at(max(query.start_ms, query.after[0] if query.after else 0))
    until_ms = min(query.end_ms, query.after[0] + 1) if query.after else query.end_ms
    return stream.gap_at(until_ms)
