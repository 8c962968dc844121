"""Jobs in Kubernetes' form: from eksProperties and their overrides to the containers of a task that means the same.

The init containers run one after the other, each after the success of the one before it; then all containers run side by side. None
of them is essential: as in a pod, the end of one does not end the others, and the pod has failed if one of them has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from batchyard.core.parameters import has_references, substitute
from batchyard.core.submission import Prepared, merge_by, prepare_several
from batchyard.core.tasks import DEFAULT_STOP_TIMEOUT_S, LOG_GROUP, log_stream_of
from batchyard.model.capacity import NOTHING, Resources
from batchyard.model.definition import Definition
from batchyard.model.fault import client_fault
from batchyard.model.job import Specification
from batchyard.model.task import Condition, StartsAfter, TaskContainer

FORM = "eks"
UNNAMED = "Default"  # the name of a container that has none
GPU = "nvidia.com/gpu"
_PARTS = ("initContainers", "containers")
_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")

_encode = msgspec.json.Encoder().encode


def prepare(definition: Definition) -> Prepared:
    """A definition with eksProperties, worked out once. Raises a Fault when a container asks for no cpu or memory."""
    properties, parameters = definition.properties["eksProperties"], definition.properties.get("parameters") or {}
    return prepare_several(definition, FORM, needs_of_pod(properties["podProperties"]), partial(_resolved, properties, parameters))


def name_of(container: Mapping[str, Any]) -> str:
    """A container's name, or the one that Batch gives it."""
    return str(container.get("name") or UNNAMED)


def needs_of_pod(pod: Mapping[str, Any]) -> Resources:
    """What the pod needs: its containers together, or more where one of the init containers, which run alone, needs more."""
    together = NOTHING
    for container in pod.get("containers") or ():
        needs = needs_of_container(container)
        if not needs.memory_mib or not needs.vcpus:
            raise client_fault(f"eksProperties: container {name_of(container)} needs resources: cpu and memory in limits or requests.")
        together = together.plus(needs)
    for container in pod.get("initContainers") or ():
        alone = needs_of_container(container)
        together = Resources(max(together.vcpus, alone.vcpus), max(together.memory_mib, alone.memory_mib), max(together.gpus, alone.gpus))
    return together


def needs_of_container(container: Mapping[str, Any]) -> Resources:
    """What a container asks for: its requests, or its limits where it has no request. 0 of what it does not name."""
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    memory = str(wanted.get("memory") or "0Mi").removesuffix("Mi")
    return Resources(float(wanted.get("cpu") or 0), int(memory), int(wanted.get(GPU) or 0))


def override_pod(pod: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """The pod after eksPropertiesOverride, before placeholders are filled in. Fault for a container that it does not have."""
    merged = dict(pod)
    for part in _PARTS:
        containers = list(pod.get(part) or ())
        for entry in override.get(part) or ():
            at = _meant(part, containers, entry)
            containers[at] = _override_container(containers[at], entry)
        if containers:
            merged[part] = containers
    if override.get("metadata"):
        merged["metadata"] = _merged_metadata(pod.get("metadata") or {}, override["metadata"])
    return merged


def _meant(part: str, containers: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> int:
    """Which container an override is for: the one of its name; without a name the only one."""
    names = [name_of(container) for container in containers]
    if entry.get("name") in names:
        return names.index(entry["name"])
    if not entry.get("name") and len(names) == 1:
        return 0
    raise client_fault(
        f"eksPropertiesOverride.podProperties.{part}: {entry.get('name') or '(no name)'} is no container of the job definition. "
        f"It has: {', '.join(names) or 'none'}."
    )


def _override_container(container: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(container)
    for name in ("image", "command", "args"):
        if entry.get(name):
            merged[name] = entry[name]
    if entry.get("env"):
        merged["env"] = merge_by("name", container.get("env") or (), entry["env"])
    if entry.get("resources"):
        merged["resources"] = _merged_resources(container.get("resources") or {}, entry["resources"])
    return merged


def _merged_resources(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merged by resource. A new limit takes the place of an old request too, and the other way round, unless both are given."""
    merged: dict[str, Any] = {}
    for side, other in (("limits", "requests"), ("requests", "limits")):
        new, old = over.get(side) or {}, base.get(side) or {}
        values = {**{name: (over.get(other) or {}).get(name, value) for name, value in old.items()}, **new}
        if values:
            merged[side] = values
    return merged


def _merged_metadata(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **over}
    for name in ("labels", "annotations"):
        if base.get(name) or over.get(name):
            merged[name] = {**(base.get(name) or {}), **(over.get(name) or {})}
    return merged


def merged(properties: Mapping[str, Any], overrides: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> dict[str, Any]:
    """eksProperties to run: after each of these eksPropertiesOverride, and with placeholders filled in."""
    pod = properties["podProperties"]
    for override in overrides:
        pod = override_pod(pod, override.get("podProperties") or {})
    filled = {part: [_filled(container, values) for container in pod[part]] for part in _PARTS if pod.get(part)}
    return {"podProperties": {**pod, **filled}}


def _resolved(properties: Mapping[str, Any], parameters: Mapping[str, str], submission: Mapping[str, Any]) -> tuple[Raw, Resources]:
    """eksProperties to run, encoded, and what they need."""
    values = {**parameters, **(submission.get("parameters") or {})}
    effective = merged(properties, [submission.get("eksPropertiesOverride") or {}], values)
    return Raw(_encode(effective)), needs_of_pod(effective["podProperties"])


def _filled(container: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    filled = dict(container)
    for name in ("command", "args"):
        if has_references(container.get(name) or ()):
            filled[name] = substitute(container[name], values)
    return filled


# --- the task that means the same ---


def pod_containers(pod: Mapping[str, Any], spec: Specification, task_id: str) -> list[TaskContainer]:
    """The containers of the pod in the order in which they may start; `environment` holds what each names, not yet expanded."""
    whole = needs_of_pod(pod)
    made: list[TaskContainer] = []
    for container in pod.get("initContainers") or ():
        after = (StartsAfter(made[-1].name, Condition.SUCCESS),) if made else ()
        made.append(_container(container, pod, spec, task_id, whole, after))
    after = (StartsAfter(made[-1].name, Condition.SUCCESS),) if made else ()
    made.extend(_container(container, pod, spec, task_id, whole, after) for container in pod["containers"])
    return made


def _container(
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    spec: Specification,
    task_id: str,
    whole: Resources,
    after: tuple[StartsAfter, ...],
) -> TaskContainer:
    own = needs_of_container(container)
    security = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    name = name_of(container)
    return TaskContainer(
        name=name,
        image=container["image"],
        command=(*(container.get("command") or ()), *(container.get("args") or ())),
        environment={entry["name"]: entry.get("value") or "" for entry in container.get("env") or ()},
        memory_mib=own.memory_mib or whole.memory_mib,  # an init container without a limit of its own: it runs alone
        vcpus=own.vcpus or whole.vcpus,
        gpus=own.gpus,
        essential=False,
        depends_on=after,
        stop_timeout_s=DEFAULT_STOP_TIMEOUT_S,
        user=_user(security),
        log_group=LOG_GROUP,
        log_stream=log_stream_of({"name": name}, spec.definition, task_id),
        container=_as_container_properties(container, pod, security),
    )


def _user(security: Mapping[str, Any]) -> str:
    user, group = security.get("runAsUser"), security.get("runAsGroup")
    if user is None:
        return ""
    return f"{user}" if group is None else f"{user}:{group}"


def _as_container_properties(container: Mapping[str, Any], pod: Mapping[str, Any], security: Mapping[str, Any]) -> dict[str, Any]:
    """The container in the spelling of containerProperties; `entryPoint`, `imagePullPolicy`, `noNewPrivileges` and `subPath`
    have no counterpart there."""
    properties: dict[str, Any] = {
        "image": container["image"],
        "command": list(container.get("args") or ()),
        "privileged": bool(security.get("privileged")),
        "readonlyRootFilesystem": bool(security.get("readOnlyRootFilesystem")),
        "volumes": [_volume(volume) for volume in pod.get("volumes") or ()],
        "mountPoints": [_mount_point(mount) for mount in container.get("volumeMounts") or ()],
    }
    if container.get("command"):
        properties["entryPoint"] = list(container["command"])
    if container.get("imagePullPolicy"):
        properties["imagePullPolicy"] = container["imagePullPolicy"]
    if pod.get("shareProcessNamespace"):
        properties["pidMode"] = "task"
    if security.get("allowPrivilegeEscalation") is False:
        properties["noNewPrivileges"] = True
    return properties


def _volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    path = (volume.get("hostPath") or {}).get("path")
    return {"name": volume["name"], **({"host": {"sourcePath": path}} if path else {})}


def _mount_point(mount: Mapping[str, Any]) -> dict[str, Any]:
    point = {"sourceVolume": mount["name"], "containerPath": mount["mountPath"], "readOnly": bool(mount.get("readOnly"))}
    if mount.get("subPath"):
        point["subPath"] = mount["subPath"]
    return point


def expanded(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """A container's variables, each `$(NAME)` in them replaced by what stands before it: `given`, then the container's own."""
    known = dict(given)
    for name, value in own.items():
        known[name] = expand(value, known)
    return {name: known[name] for name in own}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value and `$$` by `$`; what has no value stays as it is (Kubernetes, "dependent environment variables")."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else variables.get(name, found[0])

    return _REFERENCE.sub(value, text)
