"""The nouns of work: a submission's specification, the jobs that come of it, and their attempts."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Raw, Struct

from batchyard.model.capacity import Resources
from batchyard.model.consumable import Wants
from batchyard.model.task import ContainerEnd


class Status(StrEnum):
    """AWS's seven states of a job."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    @property
    def is_waiting(self) -> bool:
        return self in _WAITING

    @property
    def is_placed(self) -> bool:
        return self in _PLACED


_FINAL = frozenset({Status.SUCCEEDED, Status.FAILED})
_WAITING = frozenset({Status.SUBMITTED, Status.PENDING, Status.RUNNABLE})
_PLACED = frozenset({Status.STARTING, Status.RUNNING})


class DependencyKind(StrEnum):
    WHOLE = ""
    N_TO_N = "N_TO_N"
    SEQUENTIAL = "SEQUENTIAL"


class Dependency(Struct, frozen=True):
    """One entry of dependsOn. `job_id` may name an array's child (`parent:3`); it is empty for SEQUENTIAL."""

    job_id: str
    kind: DependencyKind = DependencyKind.WHOLE


class RetryRule(Struct, frozen=True):
    """One entry of evaluateOnExit. A pattern is a literal with an optional `*` at its end; None means: not asked."""

    action: str  # RETRY | EXIT
    on_status_reason: str | None = None
    on_reason: str | None = None
    on_exit_code: str | None = None


class Specification(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a submission asks for; kept once per submission and shared by all children of an array.

    `effective` is the container after overrides and parameter substitution, in AWS's spelling, kept encoded because most jobs
    wait much longer than they are looked at. `form` says what it is: containerProperties (""), ecsProperties ("ecs") or
    eksProperties ("eks"). `extras` are further members that DescribeJobs echoes (parameters, propagateTags ...).
    """

    id: str  # the job id that SubmitJob answered
    account: str
    region: str
    name: str
    queue: str  # ARN
    definition: str  # ARN with revision
    needs: Resources
    attempts: int = 1
    retry_rules: tuple[RetryRule, ...] = ()
    timeout_s: int | None = None
    depends_on: tuple[Dependency, ...] = ()
    array_size: int = 0
    platform: str = "EC2"
    share: str = ""  # shareIdentifier; "" on a first in, first out queue
    priority: int = 0  # within the share: the higher goes first
    consumables: Wants = ()  # what each attempt holds besides its room
    log_group: str = ""  # awslogs-group; "" means /aws/batch/job
    log_prefix: str = ""  # awslogs-stream-prefix; "" means the definition's name
    created_at_ms: int = 0
    tags: dict[str, str] = {}
    form: str = ""
    effective: Raw = Raw(b"{}")
    extras: Raw = Raw(b"{}")


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a job on an instance. `id` is the task id: 32 hexadecimal digits, new for each attempt."""

    id: str
    number: int  # 1, 2, ...
    instance: str
    environment: str  # ARN
    cluster: str = ""  # the name of the environment's ECS cluster: the environment may be deleted before the job is forgotten
    log_stream: str
    placed_at_ms: int
    price_per_hour: float = 0.0
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    exit_code: int | None = None
    status_reason: str = ""
    reason: str = ""  # container.reason
    peak_memory_mib: float | None = None
    cpu_s: float | None = None
    containers: tuple[ContainerEnd, ...] = ()  # of a task of several, once it is closed


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job, or one child of an array. An array's parent has `is_array` and never runs itself."""

    id: str  # uuid, or uuid:index
    spec_id: str
    status: Status
    created_at_ms: int
    index: int | None = None
    is_array: bool = False
    status_reason: str = ""
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    runnable_at_ms: int | None = None
    attempts: tuple[Attempt, ...] = ()  # closed ones, oldest first
    current: Attempt | None = None
    waits_for: tuple[Dependency, ...] = ()  # dependencies not yet met
    is_cancelled: bool = False
    is_terminated: bool = False
    stop_reason: str = ""  # the caller's words, once cancelled or terminated
    stop_asked_at_ms: int | None = None  # of an array: when it was first cancelled or terminated
    doomed_at_stop: str = ""  # of an array: the children that were doomed when it was stopped, as bits, in hexadecimal
    children: tuple[int, int] = (0, 0)  # of a finished array: how many SUCCEEDED and FAILED

    @property
    def latest(self) -> Attempt | None:
        """The running attempt, else the last closed one."""
        return self.current or (self.attempts[-1] if self.attempts else None)


def child_id(parent: str, index: int) -> str:
    return f"{parent}:{index}"


def split_child(job_id: str) -> tuple[str, int | None]:
    """`("uuid", 3)` of `uuid:3`; `("uuid", None)` of a plain id. An index that is no number gives `None` as well."""
    parent, colon, index = job_id.partition(":")
    if not colon:
        return job_id, None
    return (parent, int(index)) if index.isascii() and index.isdigit() and len(index) < 7 else (job_id, None)
