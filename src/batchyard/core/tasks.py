"""Jobs of several containers in ECS's form: from ecsProperties and its overrides to the containers of the task that runs.

Precedence is that of a single container (see `submission`), container by container: an override names the one that it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from batchyard.core import loglines
from batchyard.core.fargate import check_size
from batchyard.core.parameters import has_references, substitute
from batchyard.core.submission import EMPTY_LISTS, Prepared, override_container, part_of, platform_of, prepare_several
from batchyard.model.capacity import NOTHING, Platform, Resources
from batchyard.model.definition import Definition
from batchyard.model.fault import Fault, client_fault
from batchyard.model.job import Specification
from batchyard.model.task import Condition, StartsAfter, TaskContainer

FORM = "ecs"
UNNAMED = "default"  # the name of a task's only container that has none
LOG_GROUP = "/aws/batch/job"
DEFAULT_STOP_TIMEOUT_S = 30

# Lists of a container that are shown as empty when nothing was registered. Volumes belong to the task.
_EMPTY_LISTS = (*(name for name in EMPTY_LISTS if name != "volumes"), "dependsOn")
# Members of a container that are about its task, and no part of what a container runtime is told.
_OF_THE_TASK = frozenset({"name", "dependsOn", "essential", "startTimeout", "stopTimeout"})

_encode = msgspec.json.Encoder().encode


def prepare(definition: Definition) -> Prepared:
    """A definition with ecsProperties, worked out once. Raises a Fault when a container asks for no vCPU or memory."""
    properties, platform = definition.properties["ecsProperties"], platform_of(definition)
    parameters = definition.properties.get("parameters") or {}
    needs = needs_of_task(shown_task(properties["taskProperties"][0]), platform)
    return prepare_several(definition, FORM, needs, partial(_resolved, properties, parameters, platform))


def shown_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task as AWS shows it: exactly what was registered, and the lists that were not as empty ones."""
    empty: dict[str, Any] = {name: [] for name in _EMPTY_LISTS}
    containers = [{**empty, **container} for container in task["containers"]]
    return {"volumes": [], **task, "containers": containers}


def needs_of_task(task: Mapping[str, Any], platform: Platform = Platform.EC2) -> Resources:
    """What all containers need together: they run side by side. Raises a Fault that names the container which lacks something, or for
    a sum that is no size of a Fargate task."""
    total = NOTHING
    for container in task["containers"]:
        try:
            total = total.plus(part_of(container, platform))
        except Fault as fault:
            raise client_fault(f"{fault.message} (container {container.get('name')})") from None
    if platform is Platform.FARGATE:
        check_size(total)
    return total


def override_task(task: Mapping[str, Any], overrides: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The task after ecsPropertiesOverride's containers, before placeholders are filled in. Fault for a name that it does not have."""
    by_name = {str(override.get("name") or ""): override for override in overrides}
    unknown = by_name.keys() - {container["name"] for container in task["containers"]}
    if unknown:
        names = ", ".join(container["name"] for container in task["containers"])
        raise client_fault(
            f"ecsPropertiesOverride.taskProperties[0].containers: {min(unknown)!r} is no container of the job definition. It has: {names}."
        )
    containers = [override_container(container, by_name.get(container["name"], {})) for container in task["containers"]]
    return {**task, "containers": containers}


def merged(properties: Mapping[str, Any], overrides: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> dict[str, Any]:
    """ecsProperties to run: after each of these ecsPropertiesOverride, and with placeholders filled in."""
    task = shown_task(properties["taskProperties"][0])
    task["containers"] = [{"name": UNNAMED, **container} for container in task["containers"]]
    for override in overrides:
        task = override_task(task, (override.get("taskProperties") or [{}])[0].get("containers") or ())
    task["containers"] = [
        {**container, "command": substitute(container["command"], values)} if has_references(container["command"]) else container
        for container in task["containers"]
    ]
    return {"taskProperties": [task]}


def _resolved(
    properties: Mapping[str, Any], parameters: Mapping[str, str], platform: Platform, submission: Mapping[str, Any]
) -> tuple[Raw, Resources]:
    """ecsProperties to run, encoded, and what they need."""
    values = {**parameters, **(submission.get("parameters") or {})}
    effective = merged(properties, [submission.get("ecsPropertiesOverride") or {}], values)
    return Raw(_encode(effective)), needs_of_task(effective["taskProperties"][0], platform)


def task_containers(task: Mapping[str, Any], spec: Specification, task_id: str) -> list[TaskContainer]:
    """The containers of a task in the order in which they may start; `environment` holds only what the container itself names."""
    volumes = task.get("volumes") or []
    shared = {name: task[name].lower() for name in ("pidMode", "ipcMode") if task.get(name)}
    return [_container({**shared, **container}, volumes, spec, task_id) for container in start_order(task["containers"])]


def _container(container: Mapping[str, Any], volumes: Sequence[Any], spec: Specification, task_id: str) -> TaskContainer:
    needs = part_of(container, Platform(spec.platform))
    return TaskContainer(
        name=container["name"],
        image=container["image"],
        command=tuple(container.get("command") or ()),
        environment={entry["name"]: entry.get("value", "") for entry in container.get("environment") or () if entry.get("name")},
        memory_mib=needs.memory_mib,
        vcpus=needs.vcpus,
        gpus=needs.gpus,
        essential=is_essential(container),
        depends_on=dependencies_of(container),
        start_timeout_s=container.get("startTimeout"),
        stop_timeout_s=container.get("stopTimeout") or DEFAULT_STOP_TIMEOUT_S,
        user=container.get("user") or "",
        log_group=log_group_of(container),
        log_stream=log_stream_of(container, spec.definition, task_id),
        log_begins=loglines.begins(_log_options(container)),
        log_driver=loglines.other_driver(container),
        log_options=loglines.file_options(container),
        container={**{name: value for name, value in container.items() if name not in _OF_THE_TASK}, "volumes": list(volumes)},
    )


def is_essential(container: Mapping[str, Any]) -> bool:
    """AWS's default is that a container is essential."""
    return container.get("essential") is not False


def dependencies_of(container: Mapping[str, Any]) -> tuple[StartsAfter, ...]:
    """A container's dependsOn."""
    return tuple(
        StartsAfter(str(entry.get("containerName") or ""), Condition(str(entry.get("condition") or "START").upper()))
        for entry in container.get("dependsOn") or ()
    )


def start_order(containers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The containers so that each stands behind those that it waits for, else as they were given. Fault for a circle."""
    waiting = list(containers)
    ordered: list[Mapping[str, Any]] = []
    while waiting:
        placed = {container["name"] for container in ordered}
        ready = next((c for c in waiting if all(entry.container in placed for entry in dependencies_of(c))), None)
        if ready is None:
            names = ", ".join(sorted(str(container["name"]) for container in waiting))
            raise client_fault(f"dependsOn goes in a circle among these containers: {names}.")
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def log_group_of(container: Mapping[str, Any]) -> str:
    """The group of a container's log stream."""
    return str(_log_options(container).get("awslogs-group") or LOG_GROUP)


def log_stream_of(container: Mapping[str, Any], definition: str, task_id: str) -> str:
    """`<prefix>/<container>/<task id>`; without a prefix of its own, the definition's name (specification, section 6.3).

    "" with another driver than awslogs, which has no log stream.
    """
    if loglines.other_driver(container):
        return ""
    prefix = _log_options(container).get("awslogs-stream-prefix") or definition.rpartition("/")[2].rpartition(":")[0][:200]
    return f"{prefix}/{container['name']}/{task_id}"


def _log_options(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return (container.get("logConfiguration") or {}).get("options") or {}
