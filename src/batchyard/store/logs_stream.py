"""One log stream as its readers see it: what its node wrote and what clients put into it, merged in the order of time.

The two have one writer each and never share a file. A place between two events of a stream is a `Gap`: it stays valid while
events are added behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import takewhile
from typing import NamedTuple

from batchyard.store.logs_book import Book, PutStream
from batchyard.store.logs_segment import Segment

EVENT_OVERHEAD_BYTES = 26  # what CloudWatch Logs counts for each event besides its message
_LAST = 2**62


class Event(NamedTuple):
    """One event of a stream. `source` is 0 for the node's segment, 1 for what clients put; `place` and `end` are offsets or a number."""

    timestamp_ms: int
    ingested_at_ms: int
    message: bytes
    stream: str
    source: int
    place: int
    end: int


class Gap(NamedTuple):
    """A place between events: before it lie the segment's bytes up to `offset` and what was put up to (timestamp, sequence)."""

    offset: int = 0
    timestamp_ms: int = -1
    sequence: int = -1

    def behind(self, events: Sequence[Event]) -> Gap:
        """This gap moved behind `events`, which follow it."""
        offset, put = self.offset, (self.timestamp_ms, self.sequence)
        for event in events:
            if event.source == 0:
                offset = max(offset, event.end)
            else:
                put = max(put, (event.timestamp_ms, event.place))
        return Gap(offset, *put)

    def ahead_of(self, events: Sequence[Event]) -> Gap:
        """This gap moved before `events`, which end at it."""
        offset, put = self.offset, (self.timestamp_ms, self.sequence)
        for event in events:
            if event.source == 0:
                offset = min(offset, event.place)
            else:
                put = min(put, (event.timestamp_ms, event.place - 1))
        return Gap(offset, *put)

    def not_before(self, other: Gap) -> Gap:
        return Gap(max(self.offset, other.offset), *max(self[1:], other[1:]))

    def not_behind(self, other: Gap) -> Gap:
        return Gap(min(self.offset, other.offset), *min(self[1:], other[1:]))


class Stream:
    """A stream of which at least one of `segment` and `put` is there. Made for the moment: ask the store again for the next request."""

    __slots__ = ("_book", "name", "put", "segment")

    def __init__(self, name: str, segment: Segment | None, put: PutStream | None, book: Book) -> None:
        self.name = name
        self.segment = segment
        self.put = put
        self._book = book

    def created_at_ms(self) -> int:
        """When the stream came to be."""
        times = [self.put.created_at_ms] if self.put else []
        if self.segment is not None:
            about = self.segment.about()
            if about is not None:
                times.append(about.created_at_ms)
        return min(times, default=0)

    def span_ms(self) -> tuple[int, int] | None:
        """The times of the first and the last event; None without any."""
        spans = []
        if self.segment is not None:
            spans.append(self.segment.span_ms())
        if self.put is not None:
            first, last = self._put_after(Gap(), 1, 1), self._put_before(Gap(0, _LAST, _LAST), 1, 1)
            spans.append((first[0].timestamp_ms, last[0].timestamp_ms) if first and last else None)
        known = [span for span in spans if span is not None]
        return (min(span[0] for span in known), max(span[1] for span in known)) if known else None

    def ingested_at_ms(self) -> int | None:
        """When an event last came in; None if none ever did."""
        times = [] if self.put is None or self.put.ingested_at_ms is None else [self.put.ingested_at_ms]
        span = self.segment.span_ms() if self.segment is not None else None
        return max([*times, *([span[1]] if span else [])], default=None)

    def gap_at(self, timestamp_ms: int) -> Gap:
        """Before the first event of that time or later."""
        if timestamp_ms <= 0:
            return Gap()
        offset = self.segment.offset_at(timestamp_ms) if self.segment is not None else 0
        return Gap(offset, *self._put_until(timestamp_ms - 1))

    def gap_at_end(self) -> Gap:
        """Behind the last event."""
        return Gap(self.segment.end() if self.segment is not None else 0, *self._put_until(_LAST))

    def after(self, gap: Gap, end_ms: int | None, limit: int, bytes_max: int) -> list[Event]:
        """The events behind `gap` and before `end_ms`, oldest first, up to `limit` and `bytes_max` (26 more counted for each)."""
        segment = self._segment_after(gap, limit, bytes_max)
        put = self._put_after(gap, limit, bytes_max)
        events = merge(segment, put, key=_by_time) if segment and put else iter(segment or put)
        if end_ms is not None:
            events = takewhile(lambda event: event.timestamp_ms < end_ms, events)
        return _within(list(events)[:limit], bytes_max)

    def before(self, gap: Gap, start_ms: int, limit: int, bytes_max: int) -> list[Event]:
        """The events before `gap` and not before `start_ms`, newest first; bounds as in `after`."""
        segment = self._segment_before(gap, limit, bytes_max)
        put = self._put_before(gap, limit, bytes_max)
        events = merge(segment, put, key=_by_time, reverse=True) if segment and put else iter(segment or put)
        return _within(list(takewhile(lambda event: event.timestamp_ms >= start_ms, events))[:limit], bytes_max)

    def _segment_after(self, gap: Gap, limit: int, bytes_max: int) -> list[Event]:
        if self.segment is None:
            return []
        found = self.segment.after(gap.offset, limit, bytes_max)
        return [Event(entry[0], entry[0], entry[1], self.name, 0, entry[2], entry[3]) for entry in found]

    def _segment_before(self, gap: Gap, limit: int, bytes_max: int) -> list[Event]:
        if self.segment is None:
            return []
        found = self.segment.before(gap.offset, limit, bytes_max)
        return [Event(entry[0], entry[0], entry[1], self.name, 0, entry[2], entry[3]) for entry in found]

    def _put_after(self, gap: Gap, limit: int, bytes_max: int) -> list[Event]:
        if self.put is None:
            return []
        found = self._book.after(self.put.id, gap.timestamp_ms, gap.sequence, limit, bytes_max)
        return [Event(event[0], event[2], event[3], self.name, 1, event[1], event[1]) for event in found]

    def _put_before(self, gap: Gap, limit: int, bytes_max: int) -> list[Event]:
        if self.put is None:
            return []
        found = self._book.before(self.put.id, gap.timestamp_ms, gap.sequence, limit, bytes_max)
        return [Event(event[0], event[2], event[3], self.name, 1, event[1], event[1]) for event in found]

    def _put_until(self, timestamp_ms: int) -> tuple[int, int]:
        """(timestamp, sequence) of the last event that was put for that time or earlier."""
        last = self._put_before(Gap(0, timestamp_ms, _LAST), 1, 1)
        return (last[0].timestamp_ms, last[0].place) if last else (-1, -1)


def _by_time(event: Event) -> tuple[int, int]:
    return event.timestamp_ms, event.source


def _within(events: list[Event], bytes_max: int) -> list[Event]:
    size = 0
    for number, event in enumerate(events):
        size += len(event.message) + EVENT_OVERHEAD_BYTES
        if number and size > bytes_max:
            return events[:number]
    return events
