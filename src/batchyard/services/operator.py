"""What the operator may ask that AWS has no API for: why a job waits, what instances there are, reclaim one, end it all.

Served as JSON under `/batchyard/v1/<operation>` with the root key only: a job's credentials get nowhere here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from batchyard.core import costing
from batchyard.model.capacity import Scratch
from batchyard.model.fault import Fault
from batchyard.model.requests import EndAll, Reclaim
from batchyard.model.view import JobQuery
from batchyard.services import Caller, Handler, usage
from batchyard.services.operator_rights import root_only
from batchyard.services.operator_sessions import exec_begin, exec_read, exec_write
from batchyard.store import json_logs

LONGEST_WAIT_S = 60
MOST_AWAITED = 1000
MOST_AT_ONCE = 250  # jobs that end in one turn, so that no turn keeps others waiting for long


async def explain(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Why a job is where it is: a sentence, and per environment the shortfall and the fix."""
    root_only(caller)
    job_id = _text(params, "jobId")
    await desk.read.level()
    explanation = desk.read.explain(job_id)
    if explanation is None:
        raise Fault("ClientException", f"Job {job_id} does not exist.")
    return {
        "jobId": explanation.job_id,
        "status": explanation.status,
        "summary": explanation.summary,
        "awsReason": explanation.aws_reason,
        "position": explanation.position,
        "reasons": [{"environment": r.environment, "shortfall": r.shortfall, "fix": r.fix} for r in explanation.reasons],
    }


async def instances(desk: Any, caller: Caller, _params: dict[str, Any]) -> dict[str, Any]:
    """Every instance with what runs on it."""
    root_only(caller)
    await desk.read.level()
    jobs: dict[str, list[str]] = {}
    for job_id, instance in desk.placed():
        jobs.setdefault(instance, []).append(job_id)
    environments = desk.read.environments
    found = [
        {
            "id": i.id,
            "environment": environments[i.environment].name,
            "typeName": i.type_name,
            "vcpus": i.room.vcpus,
            "memoryMiB": i.room.memory_mib,
            "spot": i.spot,
            "state": str(i.state),
            "jobs": sorted(jobs.get(i.id, [])),
            "pricePerHour": round(i.price_per_hour, 6),
            "reclaimAt": i.reclaim_at_ms,
        }
        for i in desk.read.instances.values()
        if i.environment in environments
    ]
    return {"instances": found}


async def machine(desk: Any, caller: Caller, _params: dict[str, Any]) -> dict[str, Any]:
    """What jobs may have of this machine in all, and how its scratch space stands."""
    root_only(caller)
    await desk.read.level()
    room = desk.read.machine
    return {"vcpus": room.vcpus, "memoryMiB": room.memory_mib, "gpus": room.gpus, "scratch": _scratch(desk.read.scratch)}


def _scratch(scratch: Scratch | None) -> dict[str, Any]:
    """The machine's scratch space. It is not known as long as the node has not said how much there is."""
    known = scratch or Scratch(False, "", 0, 0, 0)
    return {
        "isKnown": scratch is not None,
        "isHealthy": known.is_healthy,
        "whyNot": known.why_not,
        "capacityMiB": known.capacity_mib,
        "promisedMiB": known.promised_mib,
        "unpromisedMiB": known.unpromised_mib,
        "freeMiB": max(0, known.free_mib),
    }


async def reclaim(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Take an instance away after a notice, as EC2 does with Spot."""
    root_only(caller)
    notice_s = params.get("noticeSeconds")
    if notice_s is not None and (not isinstance(notice_s, int | float) or isinstance(notice_s, bool) or not 0 <= notice_s <= 86400):
        raise Fault("ClientException", "noticeSeconds must be a number from 0 to 86400.")
    instance = await desk.ask(Reclaim(_text(params, "instance"), notice_s))
    return {"instance": instance.id, "reclaimAt": instance.reclaim_at_ms}


async def cost(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """What a job's attempts have cost so far, at the catalogue's prices; of an array or a multi-node job: those of all its parts."""
    root_only(caller)
    job_id = _text(params, "jobId")
    await desk.read.level()
    found = desk.read.job(job_id)
    if found is None:
        raise Fault("ClientException", f"Job {job_id} does not exist.")
    job, spec = found
    attempts = [*job.attempts, *([job.current] if job.current else [])]
    now_ms = desk.now_ms()
    is_many = job.is_array or job.is_multi_node
    jobs = [j for j, _ in desk.read.jobs(JobQuery(array=job_id, limit=max(spec.array_size, spec.num_nodes))).jobs] if is_many else [job]
    return {
        "jobId": job_id,
        "usd": sum(costing.job_cost(j, now_ms) for j in jobs),
        "scratchMiB": spec.needs_of(job).scratch_mib or None,
        "attempts": [
            {
                "number": a.number,
                "usd": costing.attempt_cost(a, now_ms),
                "instance": a.instance,
                **usage.of_attempt(a),
            }
            for a in attempts
        ],
    }


async def log(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """What an attempt with the log driver json-file wrote, from `position` on: its events, and where the next ones begin."""
    root_only(caller)
    job_id = _text(params, "jobId")
    found = desk.read.job(job_id)
    if found is None:
        raise Fault("ClientException", f"Job {job_id} does not exist.")
    job = found[0]
    attempts = [*job.attempts, *([job.current] if job.current else [])]
    number = params.get("attempt") or len(attempts)
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(attempts):
        raise Fault("ClientException", f"Job {job_id} has no attempt {number}: it has had {len(attempts)}.")
    container, position = params.get("container") or "", params.get("position") or ""
    try:
        page = await asyncio.to_thread(json_logs.read, desk.json_logs, attempts[number - 1].id, str(container), str(position))
    except FileNotFoundError:
        raise Fault("ResourceNotFoundException", f"No log of attempt {number} of job {job_id} is kept here.") from None
    return {
        "attempt": number,
        "events": [{"timestamp": at_ms, "message": message} for at_ms, message in page.events],
        "position": page.position,
        "isAll": page.is_all,
    }


async def wait(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """How jobs ended: answered once all of them have, or when the time is up. Waiting costs the service nothing."""
    root_only(caller)
    job_ids, timeout_s = params.get("jobs"), params.get("timeoutSeconds", LONGEST_WAIT_S)
    if not isinstance(job_ids, list) or not 1 <= len(job_ids) <= MOST_AWAITED or not all(isinstance(id, str) for id in job_ids):
        raise Fault("ClientException", f"jobs is required and must be a list of 1 to {MOST_AWAITED} job ids.")
    if not isinstance(timeout_s, int | float) or isinstance(timeout_s, bool) or not 0 <= timeout_s <= LONGEST_WAIT_S:
        raise Fault("ClientException", f"timeoutSeconds must be a number from 0 to {LONGEST_WAIT_S}.")
    found = [job for job, _ in await desk.waiters.until_final(list(dict.fromkeys(job_ids)), timeout_s)]
    return {
        "jobs": [{"jobId": job.id, "status": job.status.value, "statusReason": job.status_reason} for job in found if job.status.is_final],
        "waiting": [job.id for job in found if not job.status.is_final],
    }


async def down(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """End the jobs (unless `keepJobs`) and the server. Answered before the server goes."""
    root_only(caller)
    keep = params.get("keepJobs", False) is True
    ended = 0
    while not keep and (now := await desk.ask(EndAll("batchyard down", MOST_AT_ONCE))):
        ended += now
    desk.shut_down(keep)
    return {"jobsEnded": ended, "keepJobs": keep}


def _text(params: dict[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise Fault("ClientException", f"{name} is required and must be a string.")
    return value


OPERATIONS: dict[str, Handler] = {
    "explain": explain,
    "instances": instances,
    "log": log,
    "machine": machine,
    "reclaim": reclaim,
    "cost": cost,
    "wait": wait,
    "exec-begin": exec_begin,
    "exec-read": exec_read,
    "exec-write": exec_write,
    "down": down,
}
NOT_YET: dict[str, str] = {}
