"""Jobs that exist: show them, cancel and terminate them, one by one and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batchyard.model.fault import Fault, client_fault
from batchyard.model.job import Job, Specification
from batchyard.model.requests import Cancel, Request, Terminate
from batchyard.services import Caller, Params
from batchyard.services.batch.names import job_id_of
from batchyard.services.batch.rendering import encoded_detail
from batchyard.services.batch.validation import check_reason, executing
from batchyard.services.batch.waiting_rendering import is_plain, waiting_details
from batchyard.services.desk import Desk

MOST_DESCRIBED = 100
MOST_IN_BULK = 50

_Ending = Callable[[str, str], Request]


async def describe_jobs(desk: Desk, caller: Caller, params: Params) -> Params:
    """The jobs asked for by id or ARN, children of arrays too, in the order of the request; unknown ones are left out."""
    wanted = params["jobs"]
    if len(wanted) > MOST_DESCRIBED:
        raise executing(f"Maximum number of jobs supported is {MOST_DESCRIBED}")
    ids = [job_id_of(caller, text) for text in dict.fromkeys(wanted)]
    glimpses = [seen for seen in desk.read.glimpses(ids) if is_plain(seen.kind) and _is_callers(caller, seen.kind)]
    details = waiting_details(desk, glimpses) if glimpses else {}
    rest = [id for id in ids if id not in details]
    found = desk.read.jobs_of(rest)
    if any(job is not None and job[0].is_array and not job[0].status.is_final for job in found):
        await desk.read.level()  # or the states that an array counts would be ahead of its children's
        found = desk.read.jobs_of(rest)
    for id, job in zip(rest, found, strict=True):
        if job is not None and _is_callers(caller, job[1]):
            details[id] = encoded_detail(desk, *job)
    return {"jobs": [details[id] for id in ids if id in details]}


async def cancel_job(desk: Desk, caller: Caller, params: Params) -> Params:
    """Ends a job that has not reached STARTING. No effect on others, nor on unknown ones."""
    await _end(desk, caller, Cancel, params["jobId"], params["reason"])
    return {}


async def terminate_job(desk: Desk, caller: Caller, params: Params) -> Params:
    """Ends a job whatever it does. No effect on finished or unknown ones. Answers before a running job has stopped."""
    await _end(desk, caller, Terminate, params["jobId"], params["reason"])
    return {}


async def cancel_jobs(desk: Desk, caller: Caller, params: Params) -> Params:
    """CancelJob for up to 50 jobs; every one has its own outcome."""
    return await _end_many(desk, caller, Cancel, params)


async def terminate_jobs(desk: Desk, caller: Caller, params: Params) -> Params:
    """TerminateJob for up to 50 jobs; every one has its own outcome."""
    return await _end_many(desk, caller, Terminate, params)


def find_job(desk: Desk, caller: Caller, id_or_arn: str) -> tuple[Job, Specification] | None:
    """A job of the caller's account and region; None if there is none."""
    found = desk.read.job(job_id_of(caller, id_or_arn))
    return found if found is not None and _is_callers(caller, found[1]) else None


def _is_callers(caller: Caller, spec: Specification) -> bool:
    return spec.region == caller.region and spec.account == caller.account


async def _end(desk: Desk, caller: Caller, ending: _Ending, id_or_arn: str, reason: str) -> None:
    if not id_or_arn.strip():
        raise client_fault("jobId must not be empty.")
    check_reason(reason)
    found = find_job(desk, caller, id_or_arn)
    if found is not None and found[0].node is not None:
        raise client_fault(f"{id_or_arn} is a node of a multi-node parallel job, and nodes end with their job. Name {found[1].id} instead.")
    if found is not None and not found[0].status.is_final:
        await desk.ask(ending(found[0].id, reason))


async def _end_many(desk: Desk, caller: Caller, ending: _Ending, params: Params) -> Params:
    jobs, reason = params["jobs"], params["reason"]
    if not 1 <= len(jobs) <= MOST_IN_BULK:
        raise client_fault(f"jobs must hold between 1 and {MOST_IN_BULK} job ids, not {len(jobs)}.")
    check_reason(reason)
    outcomes = await asyncio.gather(*(_outcome(desk, caller, ending, job, reason) for job in jobs))
    return {
        "successful": [job for job, fault in zip(jobs, outcomes, strict=True) if fault is None],
        "errors": [
            {"job": job, "code": fault.code, "message": fault.message}
            for job, fault in zip(jobs, outcomes, strict=True)
            if fault is not None
        ],
    }


async def _outcome(desk: Desk, caller: Caller, ending: _Ending, job: str, reason: str) -> Fault | None:
    try:
        await _end(desk, caller, ending, job, reason)
    except Fault as fault:
        return fault
    return None
