"""Shows the containers of jobs that have several: ecsProperties and eksProperties of DescribeJobs, and what each attempt made of them."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from batchyard.core import forms, tasks
from batchyard.core.pods import name_of
from batchyard.model.job import Attempt, Job, Specification
from batchyard.model.tags import runtime_of
from batchyard.model.task import ContainerEnd
from batchyard.services.desk import Desk

# What a record says of the operating system while jobs run as processes (docs/decisions/0004).
PROCESS_MARK = "LINUX (process: image not used)"
MOUNTS_MARK = "LINUX (process: image not used, mount points are directories in BATCHYARD_VOLUME_*)"

_REASON_LENGTH = 255
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def add(desk: Desk, job: Job, spec: Specification, detail: dict[str, Any]) -> None:
    """The members of DescribeJobs that stand in the place of `container`: what was asked for, and what the latest attempt made of it."""
    latest = None if job.is_array else job.latest
    effective = _decode(spec.effective)
    if spec.form == tasks.FORM:
        task = effective["taskProperties"][0]
        if runtime_of_job(desk, spec) == "process":
            mark = MOUNTS_MARK if any(container.get("mountPoints") for container in task["containers"]) else PROCESS_MARK
            task["runtimePlatform"] = {**task.get("runtimePlatform", {}), "operatingSystemFamily": mark}
        for container in task["containers"]:
            container["networkInterfaces"] = []
        if latest is not None:
            task.update(place(spec, latest))
            for container, ended in zip(task["containers"], _ends(spec, latest, task["containers"]), strict=True):
                container.update(ended)
        detail["ecsProperties"] = effective
        return
    pod = effective["podProperties"]
    detail["eksAttempts"] = [_pod_attempt(desk, spec, closed) for closed in job.attempts]
    detail["attempts"] = []  # those of a pod are eksAttempts
    if latest is not None:
        pod["podName"], pod["nodeName"] = _pod_name(latest), latest.instance
        for part in ("initContainers", "containers"):
            for container in pod.get(part) or ():
                container.update(_exit(_end_of(latest, name_of(container))))
    detail["eksProperties"] = effective


def runtime_of_job(desk: Desk, spec: Specification) -> str:
    """How a job runs: `container` or `process`."""
    definition, queue = desk.read.definitions.get(spec.definition), desk.read.queues.get(spec.queue)
    return runtime_of(definition.tags if definition else {}, queue.tags if queue else {}, desk.settings.runtime)


def attempt(spec: Specification, closed: Attempt) -> dict[str, Any]:
    """One entry of `attempts` of a job with ecsProperties; {} of a pod, whose attempts are shown elsewhere."""
    if spec.form != tasks.FORM:
        return {}
    containers = [{"name": container["name"]} for container in _decode(spec.effective)["taskProperties"][0]["containers"]]
    ends = _ends(spec, closed, containers)
    task = {
        **place(spec, closed),
        "containers": [{**container, **ended, "networkInterfaces": []} for container, ended in zip(containers, ends, strict=True)],
    }
    return {"container": {}, "taskProperties": [task], **course(closed)}


def place(spec: Specification, attempt: Attempt) -> dict[str, Any]:
    """Where an attempt ran: its task and its container instance, as ARNs."""
    prefix = f"arn:aws:ecs:{spec.region}:{spec.account}"
    cluster = attempt.cluster or f"AWSBatch-{attempt.environment.rpartition('/')[2]}"
    shown = {"taskArn": f"{prefix}:task/{cluster}/{attempt.id}"}
    if not attempt.platform.startswith("FARGATE"):  # a task of Fargate has no instance that anybody could look at
        shown["containerInstanceArn"] = f"{prefix}:container-instance/{cluster}/{attempt.instance}"
    return shown


def course(attempt: Attempt) -> dict[str, Any]:
    """When an attempt started and stopped, and why it ended."""
    shown: dict[str, Any] = {}
    if attempt.started_at_ms is not None:
        shown["startedAt"] = attempt.started_at_ms
    if attempt.stopped_at_ms is not None:
        shown["stoppedAt"] = attempt.stopped_at_ms
    if attempt.status_reason:
        shown["statusReason"] = attempt.status_reason
    return shown


def _ends(spec: Specification, attempt: Attempt, containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Exit code, reason and log stream of each container. A stream shows once its container, or else the attempt, has started."""
    streams = {container.name: container.log_stream for container in forms.containers_of(spec, attempt.id)}
    shown = []
    for container in containers:
        name = container["name"]
        ended = _end_of(attempt, name)
        entry = _exit(ended)
        has_begun = ended.started_at_ms is not None or (attempt.started_at_ms is not None and not attempt.containers)
        if has_begun and streams[name]:
            entry["logStreamName"] = streams[name]
        shown.append(entry)
    return shown


def _end_of(attempt: Attempt, name: str) -> ContainerEnd:
    return next((end for end in attempt.containers if end.name == name), ContainerEnd(name=name))


def _exit(end: ContainerEnd) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if end.exit_code is not None:
        shown["exitCode"] = end.exit_code
    if end.reason:
        shown["reason"] = end.reason[:_REASON_LENGTH]
    return shown


def _pod_name(attempt: Attempt) -> str:
    """`aws-batch.<uuid>` (user guide, "Jobs on Amazon EKS"): the attempt's id, written as a UUID."""
    return f"aws-batch.{uuid.UUID(hex=attempt.id)}"


def _pod_attempt(desk: Desk, spec: Specification, closed: Attempt) -> dict[str, Any]:
    """One entry of `eksAttempts`."""
    pod = _decode(spec.effective)["podProperties"]
    environment = desk.read.environments.get(closed.environment)
    eks = environment.eks if environment is not None else {}
    shown: dict[str, Any] = {"podName": _pod_name(closed), "nodeName": closed.instance, **course(closed)}
    for part in ("containers", "initContainers"):
        shown[part] = [{"name": name_of(container), **_exit(_end_of(closed, name_of(container)))} for container in pod.get(part) or ()]
    if eks:
        shown["eksClusterArn"] = eks["eksClusterArn"]
        shown["podNamespace"] = (pod.get("metadata") or {}).get("namespace") or eks["kubernetesNamespace"]
    return shown
