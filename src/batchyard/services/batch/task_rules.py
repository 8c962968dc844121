"""What RegisterJobDefinition and SubmitJob may say in ecsProperties and ecsPropertiesOverride (API reference, EcsTaskProperties)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from batchyard.core.tasks import UNNAMED, dependencies_of, is_essential, needs_of_task, start_order
from batchyard.model.capacity import Platform
from batchyard.model.fault import Fault, client_fault
from batchyard.model.task import Condition
from batchyard.services import Caller
from batchyard.services.batch.container_rules import check_container, check_resources
from batchyard.services.batch.fargate_rules import check_fargate_task
from batchyard.services.batch.fields_not_yet import refuse_not_yet
from batchyard.services.batch.log_rules import check_log_configuration
from batchyard.services.batch.validation import check_command, check_environment_variables, executing, one_of

MAX_CONTAINERS = 10
MIN_TIMEOUT_S = 2
MAX_FARGATE_TIMEOUT_S = 120
TASK = "ecsProperties.taskProperties[0]"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MODES = {"pidMode": ("HOST", "TASK"), "ipcMode": ("HOST", "TASK", "NONE")}
# Members that a single container's properties hold as well, and those of the task that stand there for each of its containers.
_OF_CONTAINER = (
    *("image", "command", "environment", "linuxParameters", "logConfiguration", "mountPoints", "privileged", "readonlyRootFilesystem"),
    *("repositoryCredentials", "resourceRequirements", "secrets", "ulimits", "user"),
)
_OF_TASK = ("volumes", "runtimePlatform", "executionRoleArn", "enableExecuteCommand")
_FARGATE_ONLY = ("networkConfiguration", "ephemeralStorage", "platformVersion")


def check_ecs_properties(properties: Mapping[str, Any], caller: Caller, runtime: str, platform: Platform = Platform.EC2) -> None:
    """Refuse ecsProperties that AWS refuses for jobs of a platform, and what cannot mean the same here. `runtime`: how jobs run."""
    tasks = list(properties.get("taskProperties") or ())
    if len(tasks) != 1:
        raise client_fault(f"ecsProperties.taskProperties must hold exactly one element, not {len(tasks)}.")
    task = tasks[0]
    containers = task.get("containers") or ()
    if not 1 <= len(containers) <= MAX_CONTAINERS:
        raise client_fault(f"{TASK}.containers must hold between 1 and {MAX_CONTAINERS} containers, not {len(containers)}.")
    _check_task(task, runtime, platform)
    _check_names(containers)
    for number, container in enumerate(containers):
        _check_container(f"{TASK}.containers[{number}]", container, task, caller, platform)
    named = {container.get("name") or UNNAMED: container for container in containers}
    if not any(is_essential(container) for container in containers):
        raise client_fault(f"{TASK}.containers: at least one container must be essential.")
    for number, container in enumerate(containers):
        _check_dependencies(f"{TASK}.containers[{number}]", container, named)
    start_order([{"name": name, **container} for name, container in named.items()])
    if platform is Platform.FARGATE:
        needs_of_task(task, platform)


def check_ecs_override(override: Mapping[str, Any]) -> None:
    """Refuse an ecsPropertiesOverride that is wrong by itself; whether its names are known is seen when it is merged."""
    where = "ecsPropertiesOverride.taskProperties"
    tasks = override.get("taskProperties") or ()
    if len(tasks) > 1:
        raise client_fault(f"{where} may hold one element, not {len(tasks)}.")
    names: set[str] = set()
    for number, container in enumerate(tasks[0].get("containers") or () if tasks else ()):
        place = f"{where}[0].containers[{number}]"
        name = container.get("name")
        if not name:
            raise client_fault(f"{place}.name is required: it says which container is meant.")
        if name in names:
            raise client_fault(f"{place}: {name} stands there twice.")
        names.add(name)
        check_command(place, container.get("command"))
        check_environment_variables(place, container.get("environment"))
        check_resources(place, container.get("resourceRequirements") or ())


def _check_task(task: Mapping[str, Any], runtime: str, platform: Platform) -> None:
    if platform is Platform.FARGATE:
        check_fargate_task(task)
    for name in _FARGATE_ONLY:
        if task.get(name) and platform is not Platform.FARGATE:
            raise executing(f"{name} not applicable for EC2.")
    for name, legal in _MODES.items():
        mode = one_of(f"{TASK}.{name}", task.get(name), legal)
        if mode == "TASK" and runtime != "process":
            raise client_fault(f"{TASK}.{name} task cannot be had here: the containers of a task share no namespace. Leave it out.")
    if task.get("networkMode") and str(task["networkMode"]).lower() != "host":
        raise client_fault(f"{TASK}.networkMode {task['networkMode']} cannot be had here: containers use the host's network. Leave it out.")


def _check_names(containers: Any) -> None:
    seen: set[str] = set()
    for number, container in enumerate(containers):
        name = container.get("name")
        if not name and len(containers) > 1:
            raise client_fault(f"{TASK}.containers[{number}].name is required where there are several containers.")
        if name and not _NAME.fullmatch(name):
            raise client_fault(f"{TASK}.containers[{number}].name {name!r} is not valid: up to 255 letters, digits, hyphens, underscores.")
        if name in seen:
            raise client_fault(f"{TASK}.containers: {name} stands there twice.")
        seen.add(name or UNNAMED)


def _check_container(where: str, container: Mapping[str, Any], task: Mapping[str, Any], caller: Caller, platform: Platform) -> None:
    """A container of a task is held to the rules of a single container, and to those of a task."""
    if container.get("firelensConfiguration"):
        raise client_fault(f"{where}.firelensConfiguration is not available in this version of Batchyard: leave it out.")
    for name in ("startTimeout", "stopTimeout"):
        seconds = container.get(name)
        if seconds is not None and seconds < MIN_TIMEOUT_S:
            raise client_fault(f"{where}.{name} must be at least {MIN_TIMEOUT_S} seconds, not {seconds}.")
        if seconds is not None and seconds > MAX_FARGATE_TIMEOUT_S and platform is Platform.FARGATE:
            raise client_fault(f"{where}.{name} may be at most {MAX_FARGATE_TIMEOUT_S} seconds on Fargate, not {seconds}.")
    single = {name: container[name] for name in _OF_CONTAINER if container.get(name) is not None}
    single.update((name, task[name]) for name in _OF_TASK if task.get(name) is not None)
    with renamed("containerProperties", where):
        refuse_not_yet("RegisterJobDefinition", {"containerProperties": single})
        check_container(single, caller.request_id, platform, is_part=True)
    check_log_configuration(where, container.get("logConfiguration"), caller.region)


def _check_dependencies(where: str, container: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]]) -> None:
    for number, entry in enumerate(container.get("dependsOn") or ()):
        place = f"{where}.dependsOn[{number}]"
        if entry.get("containerName") not in named:
            raise client_fault(f"{place}.containerName {entry.get('containerName')} is no container of the task.")
        one_of(f"{place}.condition", entry.get("condition") or "(none)", tuple(Condition))
    for after in dependencies_of(container):
        if after.condition is not Condition.START and is_essential(named[after.container]):
            raise client_fault(
                f"{where}.dependsOn: condition {after.condition} may not be asked of {after.container}, which is essential: "
                "its end is the end of the task."
            )


@contextmanager
def renamed(what: str, where: str) -> Iterator[None]:
    """Faults that name a member at `what` name the one at `where`."""
    try:
        yield
    except Fault as fault:
        raise client_fault(fault.message.replace(what, where)) from None
