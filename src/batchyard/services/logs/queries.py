"""CloudWatch Logs Insights: starting a query, asking for its results, stopping it; single records and the fields of a group.

A query runs in the background of the log store, newest events first. Its results are kept in memory for an hour after its end: a
query that the server's end cut off is unknown to the next one, as one is on AWS after a week.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.logs.insights_filter import Row
from batchyard.services.logs.insights_language import Plan, read_query
from batchyard.services.logs.insights_rows import Result, row_of, run
from batchyard.services.logs.names import group_asked_for, identified, namespace_of, no_such_group, refusal
from batchyard.services.logs.tokens import seal, unseal
from batchyard.store.logs_book import Namespace
from batchyard.store.logs_search import Query, interleaved
from batchyard.store.logs_store import LogStore
from batchyard.store.logs_stream import Event

RUNNING_MAX = 30
KEPT_MAX = 200
KEPT_MS = 3_600_000
GROUPS_MAX = 50
SAMPLE_EVENTS = 1000
SAMPLE_MS = 15 * 60_000
_MS_FROM = 10**11  # a time this large is in milliseconds: in seconds it would be the year 5138


class _Stopped(Exception):
    """The query is not wanted any more."""


@dataclass(slots=True)
class _Job:
    """One query and what has come of it."""

    id: str
    namespace: Namespace
    text: str
    groups: list[str]
    created_at_ms: int
    arn: str
    status: str = "Scheduled"
    results: list[Result] = field(default_factory=list)
    matched: int = 0
    scanned: int = 0
    bytes: int = 0
    ended_at_ms: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


class _Jobs:
    """The queries of one log store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    def add(self, job: _Job) -> None:
        """LimitExceededException when too many run already."""
        with self._lock:
            for old in list(self._jobs.values()):
                if old.ended_at_ms and (old.ended_at_ms + KEPT_MS < job.created_at_ms or len(self._jobs) >= KEPT_MAX):
                    del self._jobs[old.id]
            if sum(1 for other in self._jobs.values() if not other.ended_at_ms) >= RUNNING_MAX:
                raise Fault("LimitExceededException", f"Account maximum query concurrency limit of [{RUNNING_MAX}] reached.")
            self._jobs[job.id] = job

    def of(self, namespace: Namespace) -> list[_Job]:
        """The newest first."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if job.namespace == namespace]

    def get(self, namespace: Namespace, query_id: str) -> _Job:
        """ResourceNotFoundException when there is none."""
        with self._lock:
            job = self._jobs.get(query_id)
        if job is None or job.namespace != namespace:
            raise Fault("ResourceNotFoundException", "The specified query does not exist.")
        return job


_JOBS: WeakKeyDictionary[LogStore, _Jobs] = WeakKeyDictionary()
_JOBS_LOCK = threading.Lock()


def _jobs_of(logs: LogStore) -> _Jobs:
    with _JOBS_LOCK:
        return _JOBS.setdefault(logs, _Jobs())


def start_query(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, StartQuery: with the Insights language."""
    language = params.get("queryLanguage", "CWLI")
    if language != "CWLI":
        raise refusal(f"queryLanguage: {language} is not available here; use CWLI")
    plan = read_query(params["queryString"])
    if "limit" in params and plan.limit == Plan().limit:
        plan.limit = params["limit"]
    namespace, groups = namespace_of(caller), _groups_asked_for(logs, caller, params)
    start_ms, end_ms = _time_ms(params["startTime"]), _time_ms(params["endTime"])
    if end_ms <= start_ms:
        raise refusal("End time should not be less than start time")
    job = _Job(str(uuid.uuid4()), namespace, params["queryString"], groups, logs.now_ms(), caller.arn)
    _jobs_of(logs).add(job)
    logs.background.submit(_run, logs, caller, job, plan, start_ms, end_ms)
    return {"queryId": job.id}


def get_query_results(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, GetQueryResults."""
    job = _jobs_of(logs).get(namespace_of(caller), params["queryId"])
    purpose = ("GetQueryResults", job.id)
    start = unseal(params["nextToken"], int, purpose=purpose)[0] if "nextToken" in params else 0
    results = job.results if job.status == "Complete" else []
    end = start + params.get("maxItems", len(results))
    answer: Params = {
        "queryLanguage": "CWLI",
        "results": results[start:end],
        "statistics": {
            "recordsMatched": float(job.matched),
            "recordsScanned": float(job.scanned),
            "estimatedRecordsSkipped": 0.0,
            "bytesScanned": float(job.bytes),
            "estimatedBytesSkipped": 0.0,
            "logGroupsScanned": float(len(job.groups)),
        },
        "status": job.status,
    }
    if end < len(results):
        answer["nextToken"] = seal(end, purpose=purpose)
    return answer


def stop_query(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, StopQuery."""
    job = _jobs_of(logs).get(namespace_of(caller), params["queryId"])
    if job.ended_at_ms:
        raise refusal("The query is not running: it has ended already.")
    job.stop.set()
    return {"success": True}


def describe_queries(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, DescribeQueries: the newest first."""
    if params.get("queryLanguage", "CWLI") != "CWLI":
        return {"queries": []}
    jobs = _jobs_of(logs).of(namespace_of(caller))
    group, status = params.get("logGroupName"), params.get("status")
    wanted = [job for job in jobs if (group is None or group in job.groups) and status in (None, job.status)]
    purpose = ("DescribeQueries", namespace_of(caller))
    start = unseal(params["nextToken"], int, purpose=purpose)[0] if "nextToken" in params else 0
    end = start + params.get("maxResults", 1000)
    answer: Params = {"queries": [_described(job, logs.now_ms()) for job in wanted[start:end]]}
    if end < len(wanted):
        answer["nextToken"] = seal(end, purpose=purpose)
    return answer


def get_log_record(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, GetLogRecord: the whole event behind an `@ptr` of a query."""
    namespace = namespace_of(caller)
    pointer = params["logRecordPointer"]
    group, name, timestamp_ms, source, place = unseal(pointer, str, str, int, int, int, purpose=("LogRecord", namespace))
    stream = logs.stream(namespace, group, name)
    try:
        found = stream.after(stream.gap_at(timestamp_ms), timestamp_ms + 1, SAMPLE_EVENTS * 100, 2**62) if stream else []
    except FileNotFoundError:
        found = []
    for event in found:
        if (event.source, event.place) == (source, place):
            return {"logRecord": row_of(event, _log_of(caller, group), pointer)}
    raise Fault("ResourceNotFoundException", "The specified log record does not exist.")


def get_log_group_fields(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, GetLogGroupFields: the fields of up to 1,000 events of the quarter of an hour before `time`, or around it."""
    group = group_asked_for(logs, caller, params)
    if "time" in params:
        middle_ms = _time_ms(params["time"])
        span = (middle_ms - SAMPLE_MS // 2, middle_ms + SAMPLE_MS // 2)
    else:
        span = (logs.now_ms() - SAMPLE_MS, logs.now_ms() + 1)
    events = list(islice(_events(logs, namespace_of(caller), group.name, *span), SAMPLE_EVENTS))
    counts = Counter(name for event in events for name in row_of(event, "", "") if name != "@ptr")
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return {"logGroupFields": [{"name": name, "percent": round(100 * count / len(events))} for name, count in ordered]}


def _groups_asked_for(logs: LogStore, caller: Caller, params: Params) -> list[str]:
    named = [name for name in ("logGroupName", "logGroupNames", "logGroupIdentifiers") if params.get(name)]
    if len(named) != 1:
        raise refusal("A query must have exactly one of logGroupName, logGroupNames and logGroupIdentifiers.")
    value: Any = params[named[0]]
    names = [identified(caller, name) for name in ([value] if isinstance(value, str) else value)]
    if len(names) > GROUPS_MAX:
        raise refusal(f"{named[0]}: a query looks at no more than {GROUPS_MAX} log groups")
    for name in names:
        if logs.group(namespace_of(caller), name) is None:
            raise no_such_group()
    return list(dict.fromkeys(names))


def _run(logs: LogStore, caller: Caller, job: _Job, plan: Plan, start_ms: int, end_ms: int) -> None:
    """The query itself, in the background. Whatever becomes of it, it has ended afterwards."""
    job.status = "Running"

    def count(_: Row) -> bool:
        job.matched += 1
        return True

    plan.filters.append(count)
    try:
        job.results = run(plan, _rows(logs, caller, job, start_ms, end_ms))
        job.status = "Complete"
    except _Stopped:
        job.status = "Cancelled"
    except BaseException:
        job.status = "Failed"
        raise
    finally:
        job.ended_at_ms = max(logs.now_ms(), 1)


def _rows(logs: LogStore, caller: Caller, job: _Job, start_ms: int, end_ms: int) -> Iterator[Row]:
    """The events of all groups as rows, newest first, counted."""
    namespace = job.namespace

    def of_group(group: str) -> Iterator[tuple[Event, str]]:
        return ((event, group) for event in _events(logs, namespace, group, start_ms, end_ms + 1))

    for event, group in merge(*(of_group(group) for group in job.groups), key=lambda found: -found[0].timestamp_ms):
        if job.stop.is_set() or logs.closing.is_set():
            raise _Stopped
        job.scanned += 1
        job.bytes += len(event.message)
        pointer = seal(group, event.stream, event.timestamp_ms, event.source, event.place, purpose=("LogRecord", namespace))
        yield row_of(event, _log_of(caller, group), pointer)


def _events(logs: LogStore, namespace: Namespace, group: str, start_ms: int, end_ms: int) -> Iterator[Event]:
    """The events of a group from the newest on, but for those that have expired."""
    found = logs.group(namespace, group)
    cutoff_ms = found.cutoff_ms(logs.now_ms()) if found else 0
    return interleaved(logs.streams(namespace, group), Query(max(start_ms, cutoff_ms), end_ms, lambda _: True, newest_first=True))


def _described(job: _Job, now_ms: int) -> Params:
    return {
        "queryLanguage": "CWLI",
        "queryId": job.id,
        "queryString": job.text,
        "status": job.status,
        "createTime": job.created_at_ms,
        "logGroupName": ",".join(job.groups),
        "queryDuration": (job.ended_at_ms or now_ms) - job.created_at_ms,
        "bytesScanned": float(job.bytes),
        "userIdentity": job.arn,
    }


def _log_of(caller: Caller, group: str) -> str:
    return f"{caller.account}:{group}"


def _time_ms(time: int) -> int:
    return time if time >= _MS_FROM else time * 1000
