"""Attempts as ECS's tasks: derived from the engine's records, those that ended lately among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchyard.model.job import Attempt, Job, Specification, Status
from batchyard.services import Caller, Params
from batchyard.services.ecs.clusters import cluster_named, failure, instance_arn, listed, sole_name

_ENDED = "STOPPED"


def _owner(desk: Any, attempt_id: str) -> tuple[Job, Specification, Attempt] | None:
    job_id = desk.job_of_task(attempt_id)
    found = desk.read.job(job_id) if job_id is not None else None
    if found is None:
        return None
    job, spec = found
    for attempt in (*job.attempts, *((job.current,) if job.current else ())):
        if attempt.id == attempt_id:
            return job, spec.part_of(job), attempt
    return None


def _tasks(desk: Any, caller: Caller, cluster: str) -> Iterator[tuple[str, str, Attempt, Specification]]:
    """(task id, last status, attempt, specification) of what is in a cluster."""
    for attempt_id in desk.tasks():
        owner = _owner(desk, attempt_id)
        if owner is None:
            continue
        job, spec, attempt = owner
        if attempt.cluster == cluster and (spec.account, spec.region) == (caller.account, caller.region):
            yield attempt_id, _last_status(job, attempt), attempt, spec


def _last_status(job: Job, attempt: Attempt) -> str:
    if attempt.stopped_at_ms is not None:
        return _ENDED
    return "RUNNING" if job.status is Status.RUNNING else "PENDING"


async def list_tasks(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, ListTasks: of one cluster, running ones unless stopped ones are asked for."""
    await desk.read.level()
    cluster = cluster_named(desk, caller, params.get("cluster"))
    wanted = params.get("desiredStatus", "RUNNING")
    instance, kind = params.get("containerInstance"), params.get("launchType")
    if params.get("serviceName") or params.get("daemonName"):
        return {"taskArns": []}  # nothing here was started by a service
    found = []
    for id, status, attempt, spec in _tasks(desk, caller, cluster.name):
        is_wanted = (status == _ENDED) == (wanted == _ENDED) and wanted != "PENDING"
        of_family = params.get("family") in (None, _family(spec))
        of_kind = kind is None or attempt.platform.startswith(kind)
        if is_wanted and of_family and of_kind and (instance is None or sole_name(instance) == attempt.instance):
            found.append(f"arn:aws:ecs:{caller.region}:{caller.account}:task/{cluster.name}/{id}")
    return listed(found, params, "taskArns")


async def describe_tasks(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeTasks: what is not known (any more) is a failure MISSING, as on AWS an hour after a task's end."""
    await desk.read.level()
    cluster = cluster_named(desk, caller, params.get("cluster"))
    tasks, failures = [], []
    for name in params["tasks"]:
        owner = _owner(desk, sole_name(name))
        arn = f"arn:aws:ecs:{caller.region}:{caller.account}:task/{cluster.name}/{sole_name(name)}"
        if owner is None or owner[2].cluster != cluster.name or (owner[1].account, owner[1].region) != (caller.account, caller.region):
            failures.append(failure(arn))
        else:
            tasks.append(_task(*owner, arn, cluster.arn))
    return {"tasks": tasks, "failures": failures}


def _task(job: Job, spec: Specification, attempt: Attempt, arn: str, cluster_arn: str) -> Params:
    last = _last_status(job, attempt)
    prefix = cluster_arn.rpartition(":cluster/")[0]
    task: Params = {
        "taskArn": arn,
        "clusterArn": cluster_arn,
        "taskDefinitionArn": f"{prefix}:task-definition/{_family(spec)}:{spec.definition.rpartition(':')[2]}",
        "group": f"family:{_family(spec)}",
        "lastStatus": last,
        "desiredStatus": _ENDED if last == _ENDED or job.is_terminated else "RUNNING",
        "launchType": "FARGATE" if attempt.platform.startswith("FARGATE") else "EC2",
        "cpu": str(int(spec.needs.vcpus * 1024)),
        "memory": str(spec.needs.memory_mib),
        "startedBy": "AWSBatch",
        "createdAt": attempt.placed_at_ms / 1000,
        "containers": _containers(spec, attempt, arn, last),
        "attachments": [],
        "overrides": {"containerOverrides": []},
        "tags": [{"key": "aws:batch:job-id", "value": job.id}],
    }
    if not attempt.platform.startswith("FARGATE"):
        task["containerInstanceArn"] = instance_arn(cluster_arn, attempt.instance)
    if attempt.started_at_ms is not None:
        task["startedAt"] = attempt.started_at_ms / 1000
        task["connectivity"] = "CONNECTED"
    if attempt.stopped_at_ms is not None:
        task["stoppedAt"] = attempt.stopped_at_ms / 1000
        task["stoppedReason"] = attempt.status_reason
        task["stopCode"] = _stop_code(job, attempt)
    return task


def _stop_code(job: Job, attempt: Attempt) -> str:
    if attempt.started_at_ms is None:
        return "TaskFailedToStart"
    return "UserInitiated" if job.is_terminated else "EssentialContainerExited"


def _family(spec: Specification) -> str:
    return spec.definition.rpartition("/")[2].rpartition(":")[0]


def _containers(spec: Specification, attempt: Attempt, task_arn: str, last: str) -> list[Params]:
    """A task's containers: the single one is called default, as Batch calls it."""
    effective = msgspec.json.decode(spec.effective)
    parts = (effective.get("taskProperties") or [{}])[0].get("containers") or (effective.get("podProperties") or {}).get("containers")
    ends = {end.name: end for end in attempt.containers}
    shown = []
    for number, part in enumerate(parts or [{"name": "default", **effective}]):
        name = part.get("name") or f"container-{number}"
        container: Params = {
            "containerArn": f"{task_arn.replace(':task/', ':container/')}/{attempt.id[:8]}-{number}",
            "taskArn": task_arn,
            "name": name,
            "image": part.get("image", ""),
            "runtimeId": f"{attempt.id}-{number}",
            "lastStatus": last,
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
        }
        end = ends.get(name)
        exit_code = end.exit_code if end is not None else attempt.exit_code if not parts else None
        reason = end.reason if end is not None else attempt.reason if not parts else ""
        if exit_code is not None:
            container["exitCode"] = exit_code
        if reason:
            container["reason"] = reason
        shown.append(container)
    return shown
