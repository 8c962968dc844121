"""The nouns of work: a submission's specification, the jobs that come of it, and their attempts."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Raw, Struct
from msgspec.structs import replace

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


class NodeGroup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Neighbouring nodes of a multi-node parallel job that run the same: those with the indexes `first` to `last`."""

    first: int
    last: int
    needs: Resources  # of one node
    form: str = ""  # see `Specification`
    effective: Raw = Raw(b"{}")
    instance_type: str = ""  # "" leaves it to the compute environment
    log_group: str = ""
    log_prefix: str = ""


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
    nodes: tuple[NodeGroup, ...] = ()  # of a multi-node parallel job; `needs`, `effective` and the log's names are the main node's then
    main_node: int = 0
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

    @property
    def num_nodes(self) -> int:
        """How many nodes a multi-node parallel job has; 0 for every other job."""
        return self.nodes[-1].last + 1 if self.nodes else 0

    def group_of(self, node: int) -> NodeGroup:
        """What node `node` of a multi-node parallel job runs."""
        return next(group for group in self.nodes if node <= group.last)

    @property
    def vcpus(self) -> float:
        """What the job holds of them while it is placed; of a multi-node parallel job all its nodes together."""
        return sum(g.needs.vcpus * (g.last - g.first + 1) for g in self.nodes) if self.nodes else self.needs.vcpus

    @property
    def scratch_mib(self) -> int:
        """The same of the scratch space that it was promised."""
        return sum(g.needs.scratch_mib * (g.last - g.first + 1) for g in self.nodes) if self.nodes else self.needs.scratch_mib

    def part_of(self, job: Job) -> Specification:
        """This, as one node of a multi-node parallel job needs it: with that node's own container. The main node's time counts."""
        if not self.nodes or job.node in (None, self.main_node):
            return self
        assert job.node is not None
        return replace(self.running(self.group_of(job.node)), timeout_s=None)

    def running(self, group: NodeGroup) -> Specification:
        """This, with what the nodes of `group` run."""
        return replace(
            self,
            needs=group.needs,
            form=group.form,
            effective=group.effective,
            log_group=group.log_group,
            log_prefix=group.log_prefix,
        )

    def needs_of(self, job: Job) -> Resources:
        """What one of this specification's jobs holds while it is placed: of a multi-node parallel job each node holds its own."""
        return self.needs if job.node is None else self.group_of(job.node).needs


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a job on an instance. `id` is the task id: 32 hexadecimal digits, new for each attempt."""

    id: str
    number: int  # 1, 2, ...
    instance: str
    environment: str  # ARN
    platform: str = "EC2"  # EC2 | FARGATE | FARGATE_SPOT | MANAGED_INSTANCES
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
    read_mib: float | None = None  # from block devices and written to them, as far as the kernel tells
    written_mib: float | None = None
    disk_peak_mib: float | None = None  # the most that it held of the scratch space at a time


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job, one child of an array, or one node of a multi-node parallel job.

    An array's parent has `is_array` and never runs itself. A multi-node parallel job has `is_multi_node` and is its own main node: its
    attempts are the main node's. Each other node has a record from the moment when the nodes are first placed.
    """

    id: str  # uuid, uuid:index, or uuid#node
    spec_id: str
    status: Status
    created_at_ms: int
    index: int | None = None
    is_array: bool = False
    node: int | None = None  # the index of a node that is not the main one
    is_multi_node: bool = False
    broken_by: str = ""  # of a node: the instance that was lost before it could start; of its job: that of such a node
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

    @property
    def is_ending(self) -> bool:
        """Of a multi-node parallel job: its main node has ended, and other nodes are still being stopped."""
        return self.is_multi_node and self.current is None and self.status.is_placed

    @property
    def is_being_stopped(self) -> bool:
        """Whether its attempt, if there is one, is to be stopped."""
        return self.is_terminated or bool(self.broken_by) or (self.node is not None and bool(self.stop_reason))


def child_id(parent: str, index: int) -> str:
    return f"{parent}:{index}"


def split_child(job_id: str) -> tuple[str, int | None]:
    """`("uuid", 3)` of `uuid:3`; `("uuid", None)` of a plain id. An index that is no number gives `None` as well."""
    parent, colon, index = job_id.partition(":")
    if not colon:
        return job_id, None
    return (parent, int(index)) if index.isascii() and index.isdigit() and len(index) < 7 else (job_id, None)


def node_id(parent: str, node: int) -> str:
    return f"{parent}#{node}"


def split_node(job_id: str) -> tuple[str, int | None]:
    """`("uuid", 1)` of `uuid#1`; `("uuid", None)` of any other id, also where no number that is spelled as ours follows the `#`."""
    parent, hash_sign, node = job_id.partition("#")
    if not hash_sign or not (node.isascii() and node.isdigit() and len(node) < 7 and node == str(int(node))):
        return job_id, None
    return parent, int(node)
