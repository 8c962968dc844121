"""What goes in and out of the engine: reports of what happened, and the effects that are to be carried out."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from batchyard.model.capacity import Instance, Resources
from batchyard.model.task import ContainerEnd, TaskContainer, TaskFacts

# --- reports: what providers saw. They draw no conclusion. ---


class InstanceUp(Struct, frozen=True, tag=True):
    """The instance is there and takes jobs."""

    instance: str
    at_ms: int


class InstanceGone(Struct, frozen=True, tag=True):
    """The instance is gone, and with it every attempt on it that has not been reported as ended."""

    instance: str
    at_ms: int


class AttemptStarted(Struct, frozen=True, tag=True):
    attempt: str
    at_ms: int


class AttemptEnded(Struct, frozen=True, tag=True):
    """An attempt is over.

    `cause` says what the provider did or saw: "exited" (by itself), "stopped" (after a StopAttempt), "timeout", "not-started"
    (it could not be started: see `reason`), "lost" (it was known and is gone without an outcome).
    `exit_code` is the shell's view (128 + signal) and absent unless a process really exited. `oom`: the kernel killed for memory.
    Of a task of several containers these are those of the essential container that decided, and `containers` says it of each.
    """

    attempt: str
    at_ms: int
    cause: str
    exit_code: int | None = None
    oom: bool = False
    reason: str = ""
    peak_memory_mib: float | None = None
    cpu_s: float | None = None
    started_at_ms: int | None = None
    containers: tuple[ContainerEnd, ...] = ()
    read_mib: float | None = None  # from storage and written to it, as the kernel counts it by process (compute/local/cage.py)
    written_mib: float | None = None
    disk_peak_mib: float | None = None  # the most that it held of the scratch space at a time


class ProviderBack(Struct, frozen=True, tag=True):
    """A provider (re)connected and says all that it holds; whatever we believe to be there and is not listed is lost.

    `generation` names the provider's process: a new one holds none of the instances of an older one.
    """

    provider: str
    generation: str
    instances: tuple[str, ...]
    attempts: tuple[str, ...]
    at_ms: int


class ScratchSeen(Struct, frozen=True, tag=True):
    """The scratch space of a provider, said after every (re)connection and when it has changed by much.

    While it is not healthy the provider's instances are given no job. `unpromised_mib` is what is taken by jobs that asked for nothing
    (no `scratch_mib` among their needs) and by what is not cleared away yet.
    """

    provider: str
    is_healthy: bool
    why_not: str
    capacity_mib: int  # as far as it can grow
    unpromised_mib: int
    at_ms: int


Report = InstanceUp | InstanceGone | AttemptStarted | AttemptEnded | ProviderBack | ScratchSeen

# --- effects: what providers are to do. Each may be sent again: "already so" counts as done. ---


class StartInstance(Struct, frozen=True, tag=True):
    instance: Instance


class StopInstance(Struct, frozen=True, tag=True):
    """Take the instance away as a reclaimed host goes: attempts that still run on it are killed without SIGTERM."""

    instance: str


class NoticeInstance(Struct, frozen=True, tag=True):
    """Tell the jobs of a Spot instance that it will be taken away at `reclaim_at_ms`."""

    instance: str
    reclaim_at_ms: int


class Launch(Struct, frozen=True, tag=True):
    """Run an attempt. Named by `attempt`: one that is known already is not started again.

    `command` is argv; `environment` is complete but for what only the node knows (the working directory). Times in seconds.
    `containers` are those of a task of several, in the order in which they may start; empty means the one container that the
    fields here describe.
    `runtime` is "process" or "container"; for the latter `container` holds the effective container in AWS's spelling, and `command` may be
    empty: the image has one. `registry_auth` are credentials for the image's registry, as the Engine API's X-Registry-Auth takes them.
    """

    attempt: str
    job_id: str
    number: int
    instance: str
    command: tuple[str, ...]
    environment: dict[str, str]
    needs: Resources
    log_group: str
    log_stream: str
    account: str
    region: str
    timeout_s: int | None = None
    user: str = ""
    container: dict[str, Any] = {}
    containers: tuple[TaskContainer, ...] = ()
    log_begins: str = ""  # an event of the log begins with a line in which this pattern is found; "": each line is one
    runtime: str = "process"
    registry_auth: str = ""
    log_driver: str = ""  # "" for log streams (awslogs), json-file, or none
    log_options: dict[str, str] = {}  # of json-file
    facts: TaskFacts | None = None  # without them there are no endpoints in the job


class StopAttempt(Struct, frozen=True, tag=True):
    """SIGTERM, then SIGKILL after `grace_s`."""

    attempt: str
    grace_s: float = 30.0


Effect = StartInstance | StopInstance | NoticeInstance | Launch | StopAttempt
