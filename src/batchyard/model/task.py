"""The nouns of a job that is several containers: what each of them is to run, whom it waits for, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Condition(StrEnum):
    """What a container may ask of another one before it starts."""

    START = "START"  # it has been started
    COMPLETE = "COMPLETE"  # it has ended
    SUCCESS = "SUCCESS"  # it has ended with exit code 0


class StartsAfter(Struct, frozen=True):
    """One entry of a container's dependsOn."""

    container: str
    condition: Condition = Condition.START


class TaskContainer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One container of a task.

    `command` is argv as far as it is known without the image: an image's entry point comes before it, unless `container` names an
    `entryPoint`. `container` is the effective container in AWS's spelling of containerProperties, with the task's volumes in it.
    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    memory_mib: int
    vcpus: float = 0.0
    gpus: int = 0
    essential: bool = True
    depends_on: tuple[StartsAfter, ...] = ()
    start_timeout_s: int | None = None  # how long others wait for its COMPLETE or SUCCESS
    stop_timeout_s: int = 30  # between SIGTERM and SIGKILL
    user: str = ""
    log_group: str
    log_stream: str
    log_begins: str = ""  # see `messages.Launch`, also for the next two
    log_driver: str = ""
    log_options: dict[str, str] = {}
    container: dict[str, Any] = {}
    registry_auth: str = ""  # see `messages.Launch`


class RoleKeys(Struct, frozen=True, kw_only=True):
    """The role of a job and the credentials with which its attempt acts as that role."""

    role_arn: str
    access_key_id: str
    secret_access_key: str
    session_token: str


class TaskFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the endpoints inside of a job say of it that its node cannot know: as ECS would name it, and the machine as EC2 would.

    `task_arn` is "" for a pod, which ECS knows nothing of. `names` are those of the containers in the order of the job definition,
    `image` is that of the single one.
    """

    task_arn: str = ""
    cluster: str = ""
    family: str = ""
    revision: str = ""
    launch_type: str = "EC2"  # as ECS says it: EC2, FARGATE or MANAGED_INSTANCES
    names: tuple[str, ...] = ()
    image: str = ""
    zone: str = ""
    zone_id: str = ""
    vpc: str = ""
    instance_type: str = ""
    machine_image: str = ""  # ami-...
    architecture: str = "x86_64"
    instance_at_ms: int = 0  # when the instance was started
    is_spot: bool = False
    role: RoleKeys | None = None  # only if the job definition names a role


class ContainerEnd(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one container of a task. No `exit_code`: it never ran, or was lost with its host. `reason` is AWS's container.reason."""

    name: str
    exit_code: int | None = None
    reason: str = ""
    oom: bool = False
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    peak_memory_mib: float | None = None
    cpu_s: float | None = None
    read_mib: float | None = None
    written_mib: float | None = None
