"""Log streams: making, listing and deleting them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.logs.names import group_asked_for, namespace_of, no_such_stream, refusal, stream_arn
from batchyard.services.logs.tokens import seal, unseal
from batchyard.store.logs_book import LogGroup
from batchyard.store.logs_store import LogStore
from batchyard.store.logs_stream import Stream


def create_log_stream(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, CreateLogStream."""
    group = group_asked_for(logs, caller, params)
    if not logs.create_stream(namespace_of(caller), group.name, params["logStreamName"]):
        raise Fault("ResourceAlreadyExistsException", "The specified log stream already exists")
    return {}


def delete_log_stream(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, DeleteLogStream."""
    group = group_asked_for(logs, caller, params)
    if not logs.delete_stream(namespace_of(caller), group.name, params["logStreamName"]):
        raise no_such_stream()
    return {}


def describe_log_streams(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, DescribeLogStreams: by name or by the time of the last event (streams without events count as the oldest)."""
    order, prefix = params.get("orderBy", "LogStreamName"), params.get("logStreamNamePrefix", "")
    if order not in ("LogStreamName", "LastEventTime"):
        raise refusal(f"orderBy: {order} is not possible; use LogStreamName or LastEventTime")
    if order == "LastEventTime" and prefix:
        raise refusal("Cannot order by LastEventTime with a logStreamNamePrefix.")
    group = group_asked_for(logs, caller, params)
    limit, descending = params.get("limit", 50), bool(params.get("descending", False))
    purpose = ("DescribeLogStreams", namespace_of(caller), group.name, order, prefix, descending)
    token = params.get("nextToken")
    if order == "LogStreamName":
        page, last = _page_by_name(logs.stream_names(namespace_of(caller), group.name), prefix, descending, limit, token, purpose)
    else:
        page, last = _page_by_time(logs.streams(namespace_of(caller), group.name), descending, limit, token, purpose)
    cutoff_ms = group.cutoff_ms(logs.now_ms())
    described = (_described(logs, caller, group, name, cutoff_ms) for name in page)
    result: Params = {"logStreams": [stream for stream in described if stream is not None]}
    if last is not None:
        result["nextToken"] = last
    return result


def _page_by_name(
    names: list[str], prefix: str, descending: bool, limit: int, token: str | None, purpose: tuple[Any, ...]
) -> tuple[list[str], str | None]:
    """(names, token of the next page)."""
    low = bisect_left(names, prefix)
    high = bisect_left(names, True, lo=low, key=lambda name: not name.startswith(prefix))
    if token is not None:
        last = unseal(token, str, purpose=purpose)[0]
        if descending:
            high = max(low, min(high, bisect_left(names, last)))
        else:
            low = min(high, max(low, bisect_right(names, last)))
    page = names[max(low, high - limit) : high][::-1] if descending else names[low : min(high, low + limit)]
    return page, seal(page[-1], purpose=purpose) if len(page) < high - low else None


def _page_by_time(
    streams: list[Stream], descending: bool, limit: int, token: str | None, purpose: tuple[Any, ...]
) -> tuple[list[str], str | None]:
    """(names, token of the next page)."""
    ordered = sorted(((_last_ms(stream), stream.name) for stream in streams), reverse=descending)
    if token is not None:
        last_ms, last_name = unseal(token, int, str, purpose=purpose)
        place = (last_ms, last_name)
        ordered = [entry for entry in ordered if (entry < place if descending else entry > place)]
    page = ordered[:limit]
    return [name for _, name in page], seal(*page[-1], purpose=purpose) if len(page) < len(ordered) else None


def _last_ms(stream: Stream) -> int:
    try:
        span = stream.span_ms()
    except FileNotFoundError:  # deleted since it was listed
        return 0
    return span[1] if span is not None else 0


def _described(logs: LogStore, caller: Caller, group: LogGroup, name: str, cutoff_ms: int) -> Params | None:
    """The stream as DescribeLogStreams shows it; None if it was deleted since it was listed."""
    stream = logs.stream(namespace_of(caller), group.name, name)
    if stream is None:
        return None
    try:
        described: Params = {
            "logStreamName": name,
            "creationTime": stream.created_at_ms(),
            "arn": stream_arn(caller, group.name, name),
            "storedBytes": 0,  # so on AWS since June 2019, for streams
            "uploadSequenceToken": f"{stream.put.sequence if stream.put else 0:056d}",
        }
        span, ingested_at_ms = _visible_span_ms(stream, cutoff_ms), stream.ingested_at_ms()
    except FileNotFoundError:
        return None
    if span is not None:
        described["firstEventTimestamp"], described["lastEventTimestamp"] = span
    if ingested_at_ms is not None:
        described["lastIngestionTime"] = ingested_at_ms
    return described


def _visible_span_ms(stream: Stream, cutoff_ms: int) -> tuple[int, int] | None:
    span = stream.span_ms()
    if span is None or span[1] < cutoff_ms:
        return None
    if span[0] >= cutoff_ms:
        return span
    first = stream.after(stream.gap_at(cutoff_ms), None, 1, 1)
    return (first[0].timestamp_ms, span[1]) if first else None
