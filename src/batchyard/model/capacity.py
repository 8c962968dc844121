"""The nouns of capacity: queues, compute environments, and the instances that run jobs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Resources(NamedTuple):
    """What a job needs or an instance has. `vcpus` may be a fraction (Fargate); memory in MiB; whole GPUs.

    `scratch_mib` is what a job wants to be sure of on the machine's scratch space (0: a share of what is left). It belongs to the machine,
    not to an instance, so `fits`, `plus` and `minus` leave it alone.
    """

    vcpus: float
    memory_mib: int
    gpus: int = 0
    scratch_mib: int = 0

    def fits(self, room: Resources) -> bool:
        """Whether this much fits into `room`, exactly: equal is enough."""
        return self.vcpus <= room.vcpus and self.memory_mib <= room.memory_mib and self.gpus <= room.gpus

    def plus(self, other: Resources) -> Resources:
        return Resources(self.vcpus + other.vcpus, self.memory_mib + other.memory_mib, self.gpus + other.gpus)

    def minus(self, other: Resources) -> Resources:
        return Resources(self.vcpus - other.vcpus, self.memory_mib - other.memory_mib, self.gpus - other.gpus)

    @property
    def of_instance(self) -> Resources:
        """What of it an instance gives: all but scratch space."""
        return self if not self.scratch_mib else self._replace(scratch_mib=0)


NOTHING = Resources(0, 0, 0)


class Scratch(NamedTuple):
    """The scratch space of a provider, as it was last heard of, and what of it is promised to attempts that are held. In MiB."""

    is_healthy: bool
    why_not: str
    capacity_mib: int  # as far as it can grow
    unpromised_mib: int  # taken by jobs that asked for nothing, and by what is not cleared away yet
    promised_mib: int

    @property
    def free_mib(self) -> int:
        """What may still be promised; below 0 where there is less than was promised."""
        return self.capacity_mib - self.unpromised_mib - self.promised_mib


class State(StrEnum):
    """What the owner of a queue or an environment wants."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class Health(StrEnum):
    """AWS's `status` of a queue or an environment."""

    CREATING = "CREATING"
    UPDATING = "UPDATING"
    DELETING = "DELETING"
    VALID = "VALID"
    INVALID = "INVALID"


class Shape(NamedTuple):
    """An instance type that an environment may start. `exact` ones have a real type's size; others may be cut to any size up to it,
    and `single` ones (Fargate) to the very size of one job."""

    name: str
    room: Resources
    exact: bool = True
    single: bool = False


class Platform(StrEnum):
    """What a job definition may ask for (platformCapabilities), and what an environment is."""

    EC2 = "EC2"
    FARGATE = "FARGATE"
    MANAGED_INSTANCES = "MANAGED_INSTANCES"


class Environment(Struct, frozen=True, kw_only=True):
    """A compute environment. `settings` is AWS's `computeResources` as it is to be echoed; the fields beside it are what we act on."""

    arn: str
    name: str
    account: str
    region: str
    uuid: str
    kind: str  # MANAGED | UNMANAGED: then others register container instances, and nothing is started for it
    state: State = State.ENABLED
    health: Health = Health.VALID
    health_reason: str = "ComputeEnvironment Healthy"
    platform: Platform = Platform.EC2
    spot: bool = False
    min_vcpus: int = 0
    max_vcpus: int = 0
    wanted_vcpus: int = 0  # desiredvCpus as a caller set it by an update; 0 leaves it to demand
    instance_types: tuple[str, ...] = ()
    in_order: bool = False  # types are tried as they stand there, not cheapest first
    idle_s: float | None = None  # how long an idle instance is kept; None: the server's setting
    provider: str = "local"
    generation: int = 0  # rises with an infrastructure update; instances of older generations take no more jobs
    service_role: str = ""
    ecs_cluster_arn: str = ""
    unmanaged_vcpus: int | None = None  # of an UNMANAGED one, as its owner says: only reservations of fair share go by it
    eks: dict[str, str] = {}  # AWS's eksConfiguration; {} for an environment of ECS
    settings: dict[str, Any] = {}
    update_policy: dict[str, Any] = {}
    ecs_settings: dict[str, Any] = {}
    context: str | None = None
    tags: dict[str, str] = {}
    created_at_ms: int = 0


class TimeLimit(Struct, frozen=True):
    """One entry of jobStateTimeLimitActions: what befalls a head that is stuck for `reason` for so long. The only action is CANCEL."""

    reason: str
    max_time_s: int


class Stuck(Struct, frozen=True):
    """The job (an array's parent for its children) at the head of a queue with time limits, what it is stuck for, and since when."""

    job_id: str
    reason: str
    since_ms: int


class Queue(Struct, frozen=True, kw_only=True):
    """A job queue. `environments` are ARNs in the order in which they are tried."""

    arn: str
    name: str
    account: str
    region: str
    priority: int
    environments: tuple[str, ...]
    orders: tuple[int, ...] = ()  # the caller's own numbers for `environments`, echoed
    state: State = State.ENABLED
    health: Health = Health.VALID
    health_reason: str = "JobQueue Healthy"
    time_limits: tuple[TimeLimit, ...] = ()
    stuck: Stuck | None = None  # kept across restarts, so that time counts on
    scheduling_policy: str = ""  # ARN; with one the queue is a fair-share queue, without one it is first in, first out
    spill_idle: bool = False  # environments after the first only receive jobs into room that already runs
    tags: dict[str, str] = {}
    created_at_ms: int = 0


class InstanceState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "shutting-down"


class Instance(Struct, frozen=True, kw_only=True):
    """A slice of capacity that takes jobs: on the local machine, so much of its vCPUs and memory."""

    id: str  # i-0123456789abcdef0
    environment: str  # ARN
    type_name: str
    room: Resources
    spot: bool
    state: InstanceState
    generation: int = 0
    launched_for: str = ""  # ARN of the queue whose waiting job made us start it; "" for minvCpus
    launched_at_ms: int = 0
    idle_since_ms: int | None = None
    reclaim_at_ms: int | None = None  # a Spot notice runs: no new jobs, gone at this time
    drained: bool = False  # takes no more jobs (infrastructure update, lowered maxvCpus)
    price_per_hour: float = 0.0  # USD
