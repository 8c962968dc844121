"""Log events: putting them into a stream, reading one stream, and searching the streams of a group."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import Any
from zlib import crc32

from batchyard.services import Caller, Params
from batchyard.services.logs.names import group_asked_for, namespace_of, no_such_stream, refusal, stream_asked_for
from batchyard.services.logs.patterns import compile_extractor, compile_pattern
from batchyard.services.logs.tokens import seal, unseal
from batchyard.store.logs_book import LogGroup
from batchyard.store.logs_search import Query, place_of, search
from batchyard.store.logs_store import LogStore
from batchyard.store.logs_stream import EVENT_OVERHEAD_BYTES, Event, Gap, Stream

BATCH_BYTES_MAX = 1_048_576
BATCH_EVENTS_MAX = 10_000
PAGE_BYTES = 1_048_576
PAGE_EVENTS = 10_000
HOUR_MS = 3_600_000
NEWEST_FIRST_SINCE_MS = 1_704_067_200_000  # 2024-01-01: FilterLogEvents turns round only in ranges from here on
_FOREVER_MS = 2**62


def put_log_events(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, PutLogEvents. Answered when the events are on disk; those out of time are left out and counted."""
    group = group_asked_for(logs, caller, params)
    stream_asked_for(logs, caller, group, params["logStreamName"])
    events = [(event["timestamp"], event["message"].encode("utf-8", "replace")) for event in params["logEvents"]]
    first, last, rejected = _acceptable(events, group, logs.now_ms())
    sequence = logs.put(namespace_of(caller), group.name, params["logStreamName"], events[first:last])
    if sequence is None:
        raise no_such_stream()
    result: Params = {"nextSequenceToken": f"{sequence:056d}"}
    if rejected:
        result["rejectedLogEventsInfo"] = rejected
    if params.get("entity"):
        result["rejectedEntityInfo"] = {"errorType": "UnsupportedLogGroupType"}  # the events are taken, no entity is kept with them
    return result


def _acceptable(events: list[tuple[int, bytes]], group: LogGroup, now_ms: int) -> tuple[int, int, Params]:
    """(index of the first event to take, index behind the last, what is to be said about the others). Faults for a bad batch."""
    size = sum(len(message) + EVENT_OVERHEAD_BYTES for _, message in events)
    if size > BATCH_BYTES_MAX:
        raise refusal(f"Upload too large: {size} bytes exceeds limit of {BATCH_BYTES_MAX}")
    if len(events) > BATCH_EVENTS_MAX:
        raise refusal(f"logEvents: a batch may have at most {BATCH_EVENTS_MAX} events, not {len(events)}")
    times = [timestamp_ms for timestamp_ms, _ in events]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise refusal("Log events in a single PutLogEvents request must be in chronological order.")
    too_old = bisect_left(times, now_ms - 14 * 24 * HOUR_MS)
    expired = bisect_left(times, group.cutoff_ms(now_ms))
    too_new = bisect_left(times, now_ms + 2 * HOUR_MS + 1)
    rejected: Params = {}
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    if too_new < len(times):
        rejected["tooNewLogEventStartIndex"] = too_new
    first = max(too_old, expired)
    if first < too_new and times[too_new - 1] - times[first] > 24 * HOUR_MS:
        raise refusal("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    return first, max(first, too_new), rejected


def get_log_events(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, GetLogEvents. Without a token, the newest events (or, from the head, the oldest); `endTime` is outside the range.

    A token goes on in its own direction; where there is nothing more, the same token comes back.
    """
    group = group_asked_for(logs, caller, params)
    stream = stream_asked_for(logs, caller, group, params["logStreamName"])
    try:
        return _page_of_stream(logs, caller, params, group, stream)
    except FileNotFoundError:  # deleted while it was being read
        raise no_such_stream() from None


def _page_of_stream(logs: LogStore, caller: Caller, params: Params, group: LogGroup, stream: Stream) -> Params:
    start_ms = max(params.get("startTime", 0), group.cutoff_ms(logs.now_ms()))
    end_ms = params.get("endTime")
    limit = params.get("limit", PAGE_EVENTS)
    purpose = ("GetLogEvents", namespace_of(caller), group.name, stream.name, stream.created_at_ms())
    token = params.get("nextToken")
    forward, gap = (bool(params.get("startFromHead", False)), None) if token is None else _gap_in(token, purpose)
    earliest = stream.gap_at(start_ms)
    if forward:
        low = earliest if gap is None else gap.not_before(earliest)
        events = stream.after(low, end_ms, limit, PAGE_BYTES)
        high = low.behind(events)
    else:
        latest = stream.gap_at_end() if end_ms is None else stream.gap_at(end_ms)
        high = latest if gap is None else gap.not_behind(latest)
        events = stream.before(high, start_ms, limit, PAGE_BYTES)[::-1]
        low = high.ahead_of(events)
    result = {
        "events": [_shown(event) for event in events],
        "nextForwardToken": "f/" + seal(*high, purpose=purpose),
        "nextBackwardToken": "b/" + seal(*low, purpose=purpose),
    }
    if token is not None and not events:
        result["nextForwardToken" if forward else "nextBackwardToken"] = token
    return result


def _gap_in(token: str, purpose: tuple[Any, ...]) -> tuple[bool, Gap]:
    """(whether the token goes forward, where it stopped)."""
    direction, _, sealed = token.partition("/")
    if direction not in ("f", "b"):
        raise refusal("The specified nextToken is invalid.")
    return direction == "f", Gap(*unseal(sealed, int, int, int, purpose=purpose))


def filter_log_events(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, FilterLogEvents: the streams of a group in one order of time; `endTime` is inside the range.

    A page may be short or empty and still have a token: what one request looks at is bounded.
    """
    wanted = compile_pattern(params.get("filterPattern", ""))
    newest_first = params.get("startFromHead") is False
    if newest_first and params.get("startTime", 0) < NEWEST_FIRST_SINCE_MS:
        raise refusal("startFromHead: false is possible only with a startTime on or after Jan 1, 2024 00:00:00 UTC")
    group = group_asked_for(logs, caller, params)
    streams = _streams_asked_for(logs, caller, group, params)
    purpose = ("FilterLogEvents", namespace_of(caller), group.name)
    after = None
    if "nextToken" in params:
        newest_first, *place = unseal(params["nextToken"], bool, int, str, int, int, purpose=purpose)
        after = (place[0], place[1], place[2], place[3])
    start_ms = max(params.get("startTime", 0), group.cutoff_ms(logs.now_ms()))
    query = Query(start_ms, params.get("endTime", _FOREVER_MS) + 1, wanted, newest_first, after)
    found = search(streams, query, params.get("limit", PAGE_EVENTS), PAGE_BYTES)
    result: Params = {
        "events": [{"logStreamName": event.stream, **_shown(event), "eventId": _event_id(event)} for event in found.events],
        "searchedLogStreams": [],  # empty on AWS too since May 2020
    }
    if found.stopped_at is not None:
        result["nextToken"] = seal(newest_first, *found.stopped_at, purpose=purpose)
    return result


def test_metric_filter(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, TestMetricFilter: which of the messages a pattern matches, and what it takes out of them."""
    extract = compile_extractor(params["filterPattern"])
    found = ((number, text, extract(text.encode("utf-8", "replace"))) for number, text in enumerate(params["logEventMessages"], 1))
    return {
        "matches": [
            {"eventNumber": number, "eventMessage": text, "extractedValues": values} for number, text, values in found if values is not None
        ]
    }


def _streams_asked_for(logs: LogStore, caller: Caller, group: LogGroup, params: Params) -> list[Stream]:
    names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix")
    if names and prefix:
        raise refusal("logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
    if names:
        return [stream_asked_for(logs, caller, group, name) for name in dict.fromkeys(names)]
    return logs.streams(namespace_of(caller), group.name, prefix or "")


def _shown(event: Event) -> Params:
    message = event.message.decode("utf-8", "replace")
    return {"timestamp": event.timestamp_ms, "message": message, "ingestionTime": event.ingested_at_ms}


def _event_id(event: Event) -> str:
    """56 digits as on AWS, in the order of `search`; the same event always has the same."""
    timestamp_ms, stream, source, place = place_of(event)
    return f"{timestamp_ms:020d}{crc32(stream.encode('utf-8', 'surrogatepass')):016d}{2 * place + source:020d}"
