"""Export tasks: the events of a log group as gzipped objects in a bucket of the same account whose policy lets CloudWatch Logs in.

    s3://DESTINATION/PREFIX/TASK/STREAM/000000.gz       lines "2026-11-22T19:00:00.123Z message", the slashes of the stream as dashes
    s3://DESTINATION/PREFIX/aws-logs-write-test         written first, as on AWS

What is known of a task is a document, so it outlives the server; a task that the server's end cut off has FAILED.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import logging
import threading
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import apsw

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.logs.names import disk_full, namespace_of, no_such_group, refusal
from batchyard.services.logs.shelved import place_of
from batchyard.services.logs.tokens import seal, unseal
from batchyard.services.shelved import changed
from batchyard.store.logs_stream import Stream
from batchyard.store.objects_ledger import LedgerClosed
from batchyard.store.opening import is_for_want_of_room
from batchyard.store.shelf import Document, Drawer

log = logging.getLogger(__name__)

FILE_BYTES = 32 * 1024 * 1024  # of text in one object
PAGE_EVENTS, PAGE_BYTES = 10_000, 1_048_576
_ACTIVE = ("PENDING", "RUNNING")
_RUNNING: dict[str, threading.Event] = {}
"""The tasks that this process carries out, each with its order to stop."""
_FAILED: dict[str, str] = {}
"""Why tasks failed whose end could not be written down."""


async def create_export_task(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, CreateExportTask: one at a time for an account and region."""
    namespace, group = namespace_of(caller), params["logGroupName"]
    if params["from"] > params["to"]:
        raise refusal("from: the beginning must not be behind the end, to")
    if await asyncio.to_thread(desk.logs.group, namespace, group) is None:
        raise no_such_group()
    prefix = params.get("destinationPrefix", "exportedlogs")
    await asyncio.to_thread(_check_bucket, desk, caller, group, params["destination"], prefix)
    task_id = str(uuid.uuid4())
    task: Document = {name: params[name] for name in ("taskName", "logGroupName", "from", "to", "destination") if name in params}
    task |= {"taskId": task_id, "destinationPrefix": prefix, "status": {"code": "PENDING"}}
    stream_prefix = params.get("logStreamNamePrefix", "")

    def change(drawer: Drawer) -> None:
        if any(_as_it_is(other)["status"]["code"] in _ACTIVE for other in drawer.all("export")):
            raise Fault("LimitExceededException", "Resource limit exceeded. Only one export task can be active at a time.")
        drawer.put("export", task_id, task | {"executionInfo": {"creationTime": drawer.now_ms}})

    _RUNNING[task_id] = threading.Event()
    try:
        await changed(desk, place_of(caller), change)
    except BaseException:
        del _RUNNING[task_id]
        raise
    desk.logs.background.submit(_run, desk, caller, task, stream_prefix)
    return {"taskId": task_id}


async def describe_export_tasks(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeExportTasks: the newest first."""
    under_way = set(_RUNNING)  # looked up first: one that ends meanwhile has not failed
    found = await asyncio.to_thread(desk.shelf.look, place_of(caller), lambda drawer: drawer.all("export"))
    found = [_as_it_is(task, under_way) for task in found]
    wanted = [
        task
        for task in found
        if params.get("taskId") in (None, task["taskId"]) and params.get("statusCode") in (None, task["status"]["code"])
    ]
    wanted.sort(key=lambda task: task["executionInfo"]["creationTime"], reverse=True)
    purpose = ("DescribeExportTasks", namespace_of(caller))
    start = unseal(params["nextToken"], int, purpose=purpose)[0] if "nextToken" in params else 0
    end = start + params.get("limit", 50)
    answer: Params = {"exportTasks": wanted[start:end]}
    if end < len(wanted):
        answer["nextToken"] = seal(end, purpose=purpose)
    return answer


async def cancel_export_task(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, CancelExportTask."""
    task = await asyncio.to_thread(desk.shelf.look, place_of(caller), lambda drawer: drawer.get("export", params["taskId"]))
    if task is None:
        raise Fault("ResourceNotFoundException", "The specified export task does not exist.")
    stop = _RUNNING.get(params["taskId"])
    if _as_it_is(task)["status"]["code"] not in _ACTIVE or stop is None:
        raise Fault("InvalidOperationException", "The specified export task has ended already.")
    stop.set()
    return {}


def _as_it_is(task: Document, under_way: Iterable[str] = ()) -> Document:
    """A task that nobody carries out any more has failed."""
    if task["status"]["code"] in _ACTIVE and task["taskId"] not in {*under_way, *_RUNNING}:
        message = _FAILED.get(task["taskId"], "The server ended before the task did: start another one.")
        return {**task, "status": {"code": "FAILED", "message": message}}
    return task


def _check_bucket(desk: Any, caller: Caller, group: str, name: str, prefix: str) -> None:
    """Raises `InvalidParameterException` for a bucket that does not let CloudWatch Logs look at it and put into it, as on AWS."""
    bucket = desk.objects.bucket(name)
    if bucket is None:
        raise refusal("The specified bucket does not exist: " + name)
    if bucket.account != caller.account:
        raise refusal("Access Denied for bucket: " + name)
    for action, key in (("GetBucketAcl", ""), ("PutObject", _tried(prefix))):
        if not desk.log_deliveries.may(namespace_of(caller), group, name, f"s3:{action}", key):
            why = "Please check if CloudWatch Logs has been granted permission to perform this operation."
            raise refusal(f"{action} call on the given bucket failed. {why}")


def _tried(prefix: str) -> str:
    return f"{prefix}/aws-logs-write-test"


def _run(desk: Any, caller: Caller, task: Document, stream_prefix: str) -> None:
    """The export itself, in the background; whatever becomes of it is written down."""
    stop = _RUNNING[task["taskId"]]
    try:
        _note(desk, caller, task, "RUNNING", "")
        is_whole = _export(desk, caller, task, stream_prefix, stop)
        _note(desk, caller, task, "COMPLETED" if is_whole else "CANCELLED", "Completed successfully" if is_whole else "Cancelled")
    except Exception as failure:  # told in the task's status, where the caller looks
        log.exception("the export task %s failed", task["taskId"])
        message = disk_full().message if is_for_want_of_room(failure) else str(failure)
        _FAILED[task["taskId"]] = message
        with contextlib.suppress(apsw.FullError, LedgerClosed):  # then it is remembered while the service lives
            _note(desk, caller, task, "FAILED", message)
            del _FAILED[task["taskId"]]
    finally:
        _RUNNING.pop(task["taskId"], None)


def _note(desk: Any, caller: Caller, task: Document, code: str, message: str) -> None:
    def change(drawer: Drawer) -> None:
        noted = drawer.get("export", task["taskId"]) or task
        info = noted.get("executionInfo", {}) | ({} if code in _ACTIVE else {"completionTime": drawer.now_ms})
        status = {"code": code} | ({"message": message} if message else {})
        drawer.put("export", task["taskId"], {**noted, "status": status, "executionInfo": info})

    desk.shelf.change(place_of(caller), change).result()


def _export(desk: Any, caller: Caller, task: Document, stream_prefix: str, stop: threading.Event) -> bool:
    """Whether it came to its end."""
    prefix, bucket = task["destinationPrefix"], task["destination"]
    put = functools.partial(desk.log_deliveries.put, namespace_of(caller), task["logGroupName"], bucket)
    put(_tried(prefix), [b"Permission Check Successful"], "text/plain")
    for stream in desk.logs.streams(namespace_of(caller), task["logGroupName"], stream_prefix):
        folder = f"{prefix}/{task['taskId']}/{stream.name.replace('/', '-')}"
        try:
            for number, lines in enumerate(_files(stream, task["from"], task["to"] + 1)):
                if stop.is_set() or desk.logs.closing.is_set():
                    return False
                put(f"{folder}/{number:06d}.gz", [gzip.compress(lines, 6)], "application/x-gzip")
        except FileNotFoundError:
            continue  # deleted meanwhile
    return True


def _files(stream: Stream, start_ms: int, end_ms: int) -> Any:
    """The lines of a stream, a file's worth at a time."""
    gap, lines = stream.gap_at(start_ms), bytearray()
    while events := stream.after(gap, end_ms, PAGE_EVENTS, PAGE_BYTES):
        gap = gap.behind(events)
        for event in events:
            seconds, ms = divmod(event.timestamp_ms, 1000)
            lines += f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z ".encode() + event.message + b"\n"
        if len(lines) >= FILE_BYTES:
            yield bytes(lines)
            lines.clear()
    if lines:
        yield bytes(lines)
