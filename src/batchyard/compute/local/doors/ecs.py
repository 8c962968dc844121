"""ECS's task metadata, version 3 and 4: what a container is told of itself and of the task that it belongs to.

The shapes are those of the ECS agent on EC2, for a task on the host's network. What does not apply is left out, as the agent leaves it
out: a process has no image, so there is neither a pull nor an id of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.doors.doors import facts_of
from batchyard.compute.local.loop import boot_s, wall_ms
from batchyard.compute.local.runner import About, Ending, Single
from batchyard.compute.local.task import TaskRun
from batchyard.model.capacity import Resources
from batchyard.model.messages import Launch
from batchyard.model.task import TaskContainer

_ONLY = "default"
_FARGATE = "FARGATE"
_CPU_UNITS = 1024  # of a vCPU


class Seen(NamedTuple):
    """A container of the task, as far as it has come."""

    name: str
    id: str
    number: int  # its place in the job definition
    image: str
    needs: Resources
    log: Mapping[str, Any]  # LogDriver and LogOptions
    run: Single
    about: About
    started_at_ms: int | None
    ending: Ending | None

    async def stats(self) -> dict[str, Any] | None:
        """What it uses, in Docker's shape; None if it has ended or nobody can tell."""
        stats = await self.run.stats() if self.ending is None else None
        if stats is None:
            return None
        return {**{name: value for name, value in stats.items() if name != "Id"}, "id": self.id}  # Id: Podman's way to write it


async def containers(attempt: Attempt, asking: str) -> list[Seen]:
    """All containers of an attempt that are there or have been. `asking` is the one that asks: it runs, whether we know it yet or not."""
    seen = await _known_containers(attempt)
    now_ms = wall_ms()
    return [
        one._replace(started_at_ms=now_ms) if one.name == asking and one.started_at_ms is None and one.ending is None else one
        for one in seen
    ]


async def _known_containers(attempt: Attempt) -> list[Seen]:
    launch, run = attempt.launch, attempt.run
    facts = facts_of(attempt)
    if isinstance(run, TaskRun):
        return [
            await _seen(
                attempt,
                one.container.name,
                one.container.image,
                Resources(one.container.vcpus, one.container.memory_mib),
                _log(one.container, launch.region),
                cast(Single, one.run),  # its containers are run one by one
                one.started_at_ms,
                one.ending,
            )
            for one in run.members()
        ]
    if run is None:
        return []
    log = _log(launch, launch.region)
    started_at_ms = attempt.started_at_ms or None
    return [await _seen(attempt, _ONLY, facts.image, launch.needs, log, cast(Single, run), started_at_ms, None)]


async def _seen(
    attempt: Attempt,
    name: str,
    image: str,
    needs: Resources,
    log: Mapping[str, Any],
    run: Single,
    started_at_ms: int | None,
    ending: Ending | None,
) -> Seen:
    names = facts_of(attempt).names
    number = names.index(name) if name in names else 0
    about = await run.about()
    id = about.id or f"{attempt.launch.attempt}-{number}"
    return Seen(name, id, number, image, needs, log, run, about, started_at_ms, ending)


def container(attempt: Attempt, seen: Seen, version: str) -> dict[str, Any]:
    """The answer at the root of a container's endpoint."""
    facts, about = facts_of(attempt), seen.about
    started = _stamp(seen.started_at_ms) if seen.started_at_ms is not None else ""
    shown: dict[str, Any] = {
        "DockerId": seen.id,
        "Name": seen.name,
        "DockerName": about.name or f"ecs-{facts.family}-{facts.revision}-{seen.name}-{attempt.launch.attempt[:20]}",
        "Image": seen.image,
        "ImageID": about.image_id,
        "Labels": {
            "com.amazonaws.ecs.cluster": _cluster(attempt),
            "com.amazonaws.ecs.container-name": seen.name,
            "com.amazonaws.ecs.task-arn": facts.task_arn,
            "com.amazonaws.ecs.task-definition-family": facts.family,
            "com.amazonaws.ecs.task-definition-version": facts.revision,
        },
        "DesiredStatus": _desired(attempt),
        "KnownStatus": _known(seen),
        "Limits": {"CPU": round(seen.needs.vcpus * _CPU_UNITS), "Memory": seen.needs.memory_mib},
        "CreatedAt": about.created or started,
        "StartedAt": started,
        "Type": "NORMAL",
        "Networks": [_network(seen.run)],
    }
    if seen.ending is not None:
        if seen.ending.exit_code is not None:
            shown["ExitCode"] = seen.ending.exit_code
        if seen.started_at_ms is not None:
            shown["FinishedAt"] = _stamp(wall_ms() - round((boot_s() - seen.ending.at_s) * 1000))
    if version == "v4":
        shown.update(seen.log)
        shown["ContainerARN"] = f"{facts.task_arn.replace(':task/', ':container/')}/{attempt.launch.attempt[:8]}-{seen.number}"
    return {name: value for name, value in shown.items() if value != "" or name == "ImageID"}


def _network(run: Single) -> dict[str, Any]:
    own = run.addresses()
    return {"NetworkMode": "bridge", "IPv4Addresses": sorted(own)} if own else {"NetworkMode": "host", "IPv4Addresses": [""]}


def task(attempt: Attempt, seen: list[Seen], version: str) -> dict[str, Any]:
    """The answer at `/task`."""
    facts, launch = facts_of(attempt), attempt.launch
    pulls = [one.about for one in seen if one.about.pull_started]
    shown: dict[str, Any] = {
        "Cluster": _cluster(attempt),
        "TaskARN": facts.task_arn,
        "Family": facts.family,
        "Revision": facts.revision,
        "DesiredStatus": _desired(attempt),
        "KnownStatus": "RUNNING" if attempt.started_at_ms else "CREATED",
        "PullStartedAt": min((about.pull_started for about in pulls), default=""),
        "PullStoppedAt": max((about.pull_stopped for about in pulls), default=""),
        "AvailabilityZone": facts.zone,
        "Containers": [container(attempt, one, version) for one in seen],
    }
    if facts.launch_type == _FARGATE:  # on EC2 only its containers have limits
        shown["Limits"] = {"CPU": launch.needs.vcpus, "Memory": launch.needs.memory_mib}
    if version == "v4":
        shown["LaunchType"] = facts.launch_type
        shown["VPCID"] = facts.vpc
        shown["FaultInjectionEnabled"] = False
    return {name: value for name, value in shown.items() if value != ""}


def _cluster(attempt: Attempt) -> str:
    """The cluster's name, as the agent on EC2 has it; on Fargate its ARN."""
    facts, launch = facts_of(attempt), attempt.launch
    return f"arn:aws:ecs:{launch.region}:{launch.account}:cluster/{facts.cluster}" if facts.launch_type == _FARGATE else facts.cluster


def _desired(attempt: Attempt) -> str:
    return "STOPPED" if attempt.kill_at_s is not None else "RUNNING"


def _known(seen: Seen) -> str:
    if seen.ending is not None:
        return "STOPPED"
    return "RUNNING" if seen.run.running or seen.started_at_ms is not None else "CREATED"


def _log(of: Launch | TaskContainer, region: str) -> dict[str, Any]:
    if of.log_driver:
        return {"LogDriver": of.log_driver, **({"LogOptions": of.log_options} if of.log_options else {})}
    options = {"awslogs-group": of.log_group, "awslogs-region": region, "awslogs-stream": of.log_stream}
    return {"LogDriver": "awslogs", "LogOptions": options}


def _stamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
