"""ListJobs with all its rules (API reference, ListJobs)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.model.fault import client_fault
from batchyard.model.job import Status
from batchyard.model.view import JobQuery
from batchyard.services import Caller, Params
from batchyard.services.batch.fields_not_yet import refuse_not_yet
from batchyard.services.batch.jobs import find_job
from batchyard.services.batch.names import find_queue
from batchyard.services.batch.rendering import job_summary
from batchyard.services.batch.tokens import read_token, write_token
from batchyard.services.batch.validation import executing, one_of, page_size
from batchyard.services.desk import Desk

MOST = 1000
MOST_FILTERED = 100
AT_ONCE = 100  # summaries that are made before others have their turn
_MILLISECONDS = re.compile(r"[0-9]{1,18}")
FILTERS = ("JOB_NAME", "JOB_DEFINITION", "BEFORE_CREATED_AT", "AFTER_CREATED_AT", "SHARE_IDENTIFIER")


async def list_jobs(desk: Desk, caller: Caller, params: Params) -> Params:
    """Summaries of a queue's jobs, an array's children or a job's nodes, in pages. Without a status or a filter: those that run."""
    refuse_not_yet("ListJobs", params)
    places = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if params.get(name)]
    if len(places) != 1:
        raise client_fault("Exactly one of jobQueue, arrayJobId and multiNodeJobId must be given.")
    status = one_of("jobStatus", params.get("jobStatus"), tuple(Status))
    chosen = _filter(params.get("filters") or ())
    if places == ["arrayJobId"]:
        query = _parts(desk, caller, params["arrayJobId"], status, of_nodes=False)
    elif places == ["multiNodeJobId"]:
        query = _parts(desk, caller, params["multiNodeJobId"], status, of_nodes=True)
    else:
        query = _jobs_of_queue(desk, caller, params["jobQueue"], status, chosen)
    if query is None:
        return {"jobSummaryList": []}
    size = page_size(params.get("maxResults"), MOST_FILTERED if chosen else MOST)
    return await _page(desk, query, size, params.get("nextToken"))


async def _page(desk: Desk, fields: dict[str, Any], size: int, token: str | None) -> Params:
    question = ("ListJobs", fields)
    cursor = read_token(question, token, is_number="array" in fields)
    found = await desk.read.find_jobs(JobQuery(**fields, limit=size, cursor=cursor))
    summaries: list[dict[str, Any]] = []
    for number, (job, spec) in enumerate(found.jobs, 1):
        summaries.append(job_summary(desk, job, spec))
        if not number % AT_ONCE:
            await asyncio.sleep(0)
    result: Params = {"jobSummaryList": summaries}
    if found.cursor:
        result["nextToken"] = write_token(question, found.cursor)
    return result


def _parts(desk: Desk, caller: Caller, parent: str, status: str | None, *, of_nodes: bool) -> dict[str, Any] | None:
    """Filters do not apply to the children of an array or to nodes; an unknown parent has none."""
    found = find_job(desk, caller, parent)
    if found is None or not (found[0].is_multi_node if of_nodes else found[0].is_array):
        return None
    return {"array": found[0].id, "status": Status(status or "RUNNING")}


def _jobs_of_queue(desk: Desk, caller: Caller, name: str, status: str | None, chosen: tuple[str, str] | None) -> dict[str, Any]:
    """The query on a queue. With a filter the newest job comes first, and only SHARE_IDENTIFIER looks at the status if one is given."""
    queue = find_queue(desk.read.queues, caller, name)
    if queue is None:
        raise client_fault(f"JobQueue {name} not found.")
    if chosen is None:
        return {"queue": queue.arn, "status": Status(status or "RUNNING")}
    kind, value = chosen
    if kind == "SHARE_IDENTIFIER":
        return {"queue": queue.arn, "newest_first": True, "share": value, **({"status": Status(status)} if status else {})}
    return {"queue": queue.arn, "newest_first": True, **_filter_fields(kind, value)}


def _filter(filters: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The one filter that AWS allows, as (name, value)."""
    if not filters:
        return None
    if len(filters) > 1:
        raise executing("Only one filter key-value pair can be specified.")
    name, values = filters[0].get("name"), filters[0].get("values") or []
    if len(values) > 1:
        raise executing("Filter cannot take more than one value.")
    if not values:
        raise client_fault("filters[0].values needs one value.")
    if name not in FILTERS:
        raise client_fault(f"filters[0].name {name} is not valid. Valid values are: {', '.join(FILTERS)}.")
    return name, values[0]


def _filter_fields(kind: str, value: str) -> dict[str, Any]:
    if kind == "JOB_NAME":
        return {"name": value}
    if kind == "JOB_DEFINITION":
        return {"definition": value}
    if not _MILLISECONDS.fullmatch(value):
        raise client_fault(f"The filter {kind} takes milliseconds since 1970, not {value[:40]!r}.")
    return {"created_before_ms" if kind == "BEFORE_CREATED_AT" else "created_after_ms": int(value)}
