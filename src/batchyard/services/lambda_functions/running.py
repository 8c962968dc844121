"""One invocation: what a function gets, what becomes of its answer, and the lines in its log group."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from batchyard.services import Caller
from batchyard.services.iam.records import ROLE, find
from batchyard.services.lambda_functions.names import LATEST, Named, arn_of
from batchyard.services.lambda_functions.records import CODE, log_group_of, require_named
from batchyard.services.lambda_functions.sandbox import Line, Order, Report
from batchyard.services.shelved import place_of
from batchyard.store.logs_book import LogGroup
from batchyard.store.shelf import NO_REGION, Document, Drawer

log = logging.getLogger(__name__)

TAIL_BYTES = 4096
EVENTS_AT_ONCE = 10_000
_KEYS_BEYOND_S = 300  # how long credentials outlive the function's time-out


class Outcome(NamedTuple):
    """What came of an invocation: JSON, "" or the kind of the function's failure, and the end of the log."""

    payload: bytes
    function_error: str
    log_tail: bytes


async def outcome_of(desk: Any, caller: Caller, wanted: Named, payload: str, client_context: Any = None, request_id: str = "") -> Outcome:
    """Run the function once and write its log. Raises a Fault when it is not there or could not be started."""
    document, archive, role = desk.shelf.look(place_of("lambda", caller), lambda drawer: _runnable(drawer, caller, wanted))
    request_id = request_id or str(uuid.uuid4())
    settings = document["settings"]
    stream = f"{time.strftime('%Y/%m/%d', time.gmtime(desk.now_ms() / 1000))}/[{LATEST}]{os.urandom(16).hex()}"
    context = {
        "aws_request_id": request_id,
        "function_name": document["name"],
        "function_version": LATEST,
        "invoked_function_arn": arn_of(caller, document["name"]) + (f":{wanted.qualifier}" if wanted.qualifier else ""),
        "memory_limit_in_mb": str(settings["MemorySize"]),
        "log_group_name": log_group_of(document),
        "log_stream_name": stream,
        "client_context": client_context,
    }
    order = Order(
        code=archive,
        event=payload,
        handler=settings["Handler"],
        environment=_environment(desk, caller, document, role, stream),
        context=context,
        timeout_s=settings["Timeout"],
        memory_mib=settings["MemorySize"],
        files_mib=settings.get("EphemeralStorage", {}).get("Size", 512),
    )
    began_ms = time.time_ns() // 1_000_000
    report, lines = await desk.functions.sandbox.run(order)
    told, error = _told(report, order, request_id)
    lines = _with_platform_lines(lines, report, order, request_id, began_ms)
    await _write_log(desk, caller, context["log_group_name"], stream, lines)
    return Outcome(told, error, b"\n".join(line.text for line in lines)[-TAIL_BYTES:])


def _runnable(drawer: Drawer, caller: Caller, wanted: Named) -> tuple[Document, bytes, Document | None]:
    document = require_named(drawer, caller, wanted)
    code = drawer.get(CODE, wanted.name)
    iam = drawer.elsewhere(drawer.place._replace(service="iam", region=NO_REGION))
    return document, (code or {})["archive"], find(iam, ROLE, document["settings"]["Role"].rpartition("/")[2])


def _environment(desk: Any, caller: Caller, document: Document, role: Document | None, stream: str) -> dict[str, str]:
    """Exactly what the function finds in its environment: nothing of the server's own is in it."""
    settings, name = document["settings"], document["name"]
    role_name = settings["Role"].rpartition("/")[2]
    arn = f"arn:aws:sts::{caller.account}:assumed-role/{role_name}/{name}"
    user_id = f"{role['id'] if role else 'AROABATCHYARDLAMBDA'}:{name}"
    expires_s = desk.now_ms() // 1000 + settings["Timeout"] + _KEYS_BEYOND_S
    key_id, secret, token = desk.keys.mint_session(caller.account, arn, user_id, expires_s, "")
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_ENDPOINT_URL": desk.functions.endpoint_url,
        **settings.get("Environment", {}).get("Variables", {}),
        "_HANDLER": settings["Handler"],
        "AWS_REGION": caller.region,
        "AWS_DEFAULT_REGION": caller.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{settings['Runtime']}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_VERSION": LATEST,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": log_group_of(document),
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": token,
    }


def _told(report: Report, order: Order, request_id: str) -> tuple[bytes, str]:
    """(the payload of the answer, the kind of failure): AWS's words for what its platform says itself."""
    if report.outcome == "response":
        return report.payload.encode(), ""
    if report.outcome == "error":
        return report.payload.encode(), "Unhandled"
    kind, words = "Runtime.ExitError", _end(report.status)
    if report.outcome == "timeout":
        kind, words = "Sandbox.Timedout", f"Task timed out after {order.timeout_s:.2f} seconds"
    elif report.outcome == "memory":
        words = "Runtime exited with error: signal: killed"
    return json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {words}"}).encode(), "Unhandled"


def _end(status: int) -> str:
    if status == 0:
        return "Runtime exited without providing a reason"
    if status <= 128:
        return f"Runtime exited with error: exit status {status}"
    return f"Runtime exited with error: signal: {(signal.strsignal(status - 128) or str(status - 128)).lower()}"


def _with_platform_lines(lines: list[Line], report: Report, order: Order, request_id: str, began_ms: int) -> list[Line]:
    """What the function printed between the lines that Lambda itself writes."""
    ended_ms = max(time.time_ns() // 1_000_000, lines[-1].at_ms if lines else 0)
    after = []
    if report.outcome == "timeout":
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ended_ms / 1000)) + f".{ended_ms % 1000:03d}Z"
        after.append(f"{stamp} {request_id} Task timed out after {order.timeout_s:.2f} seconds")
    elif report.outcome in ("exit", "memory"):
        words = "Runtime exited with error: signal: killed" if report.outcome == "memory" else _end(report.status)
        after.append(f"RequestId: {request_id} Error: {words}")
    after.append(f"END RequestId: {request_id}")
    after.append(
        f"REPORT RequestId: {request_id}\tDuration: {report.duration_ms:.2f} ms\tBilled Duration: {math.ceil(report.duration_ms)} ms\t"
        f"Memory Size: {order.memory_mib} MB\tMax Memory Used: {report.peak_mib} MB\tInit Duration: {report.init_ms:.2f} ms"
    )
    first = Line(began_ms, f"START RequestId: {request_id} Version: {LATEST}".encode())
    printed = [line if line.text else Line(line.at_ms, b" ") for line in lines]
    return [first, *printed, *(Line(ended_ms, text.encode()) for text in after)]


async def _write_log(desk: Any, caller: Caller, group: str, stream: str, lines: Sequence[Line]) -> None:
    """One stream for each invocation. A log that cannot be written takes nothing from the answer, as on AWS."""

    def write() -> None:
        namespace = (caller.account, caller.region)
        if desk.logs.group(namespace, group) is None:
            desk.logs.create_group(namespace, LogGroup(group, desk.logs.now_ms()))
        desk.logs.create_stream(namespace, group, stream)
        for first in range(0, len(lines), EVENTS_AT_ONCE):
            desk.logs.put(namespace, group, stream, [(line.at_ms, line.text) for line in lines[first : first + EVENTS_AT_ONCE]])

    try:
        await asyncio.get_running_loop().run_in_executor(desk.logs.pool, write)
    except (OSError, apsw.Error) as error:
        log.warning("the log of an invocation could not be written to %s: %s", group, error)
