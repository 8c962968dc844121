"""The windows through which others look at the yard: read-only Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from batchyard.model.capacity import Environment, Instance, Queue, Resources, Scratch, Shape
from batchyard.model.consumable import Consumable, Wants
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy, Sharing
from batchyard.model.glimpse import Glimpse
from batchyard.model.job import Job, Specification, Status


class Waiting(NamedTuple):
    """A job that is ready to run: `child` is the child of an array that has no record of its own yet, else None."""

    job_id: str
    spec: Specification
    child: int | None
    number: int  # of the attempt that would start now


Passing = Container[Resources | Wants | str]  # what jobs need or want that others may pass, or their ids


class YardView(Protocol):
    """What the scheduler sees: a lazy, read-only view of the working set."""

    @property
    def environments(self) -> Mapping[str, Environment]: ...
    @property
    def queues(self) -> Mapping[str, Queue]: ...
    @property
    def instances(self) -> Mapping[str, Instance]: ...
    @property
    def consumables(self) -> Mapping[str, Consumable]: ...
    @property
    def open_queues(self) -> Sequence[Queue]:
        """Queues that have ready jobs, highest priority first."""
        ...

    def ready(self, queue: str, passing: Passing = ()) -> Iterator[Waiting]:
        """The ready jobs of a queue, in the order in which they are to start, but for those whose needs or consumables are in `passing`
        (which may grow meanwhile). Lazy. In a fair-share queue each job that is yielded counts as placed, and so decides who is next."""
        ...

    def policy_of(self, queue: str) -> SchedulingPolicy | None:
        """The policy of a fair-share queue; None for one that is first in, first out."""
        ...

    def sharing(self, queue: str) -> Sharing | None:
        """How the shares of a fair-share queue stand; None for a queue that is first in, first out."""
        ...

    def in_use(self, resource: str) -> int:
        """How much of a consumable resource the attempts hold."""
        ...

    def free(self, instance: str) -> Resources:
        """What of an instance is not taken by attempts."""
        ...

    def attempts_on(self, instance: str) -> Mapping[str, bool]:
        """The attempts on an instance: id -> whether a loss of it would be retried."""
        ...

    def environment_instances(self, environment: str) -> Mapping[str, Instance]: ...

    def shapes(self, environment: str) -> Sequence[Shape]:
        """The instance types that an environment may start, cheapest per vCPU first."""
        ...

    def host_room(self, provider: str) -> Resources | None:
        """All that a provider's host has; None where there is no such bound."""
        ...

    def scratch(self, provider: str) -> Scratch | None:
        """The scratch space of a provider; None as long as it has not said how much there is."""
        ...


class JobQuery(Struct, frozen=True, kw_only=True):
    """A question to the list of jobs. Exactly one of `queue` (ARN), `array` (the parent's id) and `consumable` (the ARN of a resource
    that submissions want). No status = every status."""

    queue: str | None = None
    array: str | None = None
    consumable: str | None = None
    status: Status | None = None
    name: str | None = None  # compared without regard to case; a trailing `*` is a prefix
    share: str | None = None  # the shareIdentifier
    definition: str | None = None  # an ARN, or a name (all revisions), or a name with a trailing `*`
    created_before_ms: int | None = None
    created_after_ms: int | None = None
    newest_first: bool = False
    limit: int = 100
    cursor: str = ""  # as answered with the page before; "" from the start


class Page(NamedTuple):
    jobs: list[tuple[Job, Specification]]
    cursor: str  # "" when there is no more


class Reason(Struct, frozen=True):
    """Why a job does not start in one environment, and the smallest change that would start it."""

    environment: str  # name
    shortfall: str
    fix: str


class Explanation(Struct, frozen=True):
    """Why a job is where it is: one sentence, the reasons per environment, AWS's own words, its place in the queue (from 1)."""

    job_id: str
    status: str
    summary: str
    reasons: tuple[Reason, ...] = ()
    aws_reason: str = ""
    position: int | None = None


class Reader(Protocol):
    """What services may read. Reads never write; the records that they see are committed.

    What is derived (`summary`, `in_use`, `scratch`, `front`, `usage`, reasons) is a turn ahead of the records while that turn is being
    written. Who shows it, or compares it with records, waits for `level` before.
    """

    @property
    def level(self) -> Callable[[], Awaitable[None]]:
        """Wait until nothing is being written: what is read before the next `await` is all of one moment."""
        ...

    @property
    def environments(self) -> Mapping[str, Environment]: ...
    @property
    def queues(self) -> Mapping[str, Queue]: ...
    @property
    def definitions(self) -> Mapping[str, Definition]: ...
    @property
    def policies(self) -> Mapping[str, SchedulingPolicy]: ...
    @property
    def instances(self) -> Mapping[str, Instance]: ...
    @property
    def consumables(self) -> Mapping[str, Consumable]: ...

    @property
    def machine(self) -> Resources:
        """What jobs may have of the service's own machine in all."""
        ...

    @property
    def scratch(self) -> Scratch | None:
        """The scratch space of the service's own machine; None as long as its node has not said how much there is."""
        ...

    def in_use(self, resource: str) -> int:
        """How much of a consumable resource running and starting jobs hold."""
        ...

    def latest_revision(self, account: str, region: str, name: str) -> int:
        """The highest revision ever registered of a job definition, 0 if none: without it a bare name would cost a search of all."""
        ...

    def job(self, job_id: str) -> tuple[Job, Specification] | None:
        """A job by id (`uuid` or `uuid:index`), whether it waits, runs or is long finished; None if there is none."""
        ...

    def jobs_of(self, job_ids: Sequence[str]) -> list[tuple[Job, Specification] | None]:
        """The same of many, in their order. A record that has not changed is mostly the same object as when it was last asked for."""
        ...

    def glimpses(self, job_ids: Sequence[str]) -> list[Glimpse]:
        """Of those that have only waited so far, and that nobody asked for lately, what `glimpse.py` says; in no order. The others are for
        `jobs_of`."""
        ...

    def glimpse_reason(self, job_id: str, status: Status, kind: Specification) -> str:
        """`waiting_reason` of a job that was found by `glimpses`."""
        ...

    def summary(self, parent: Job) -> dict[Status, int]:
        """Of an array: how many children are in each of the seven states."""
        ...

    def jobs(self, query: JobQuery) -> Page: ...

    async def find_jobs(self, query: JobQuery) -> Page:
        """The same, without keeping others waiting: a search through many jobs runs elsewhere."""
        ...

    def explain(self, job_id: str) -> Explanation | None: ...

    def front(self, queue: str, limit: int) -> list[tuple[str, int]]:
        """The ready jobs at the front of a queue: (job id, since when it is at its position in ms)."""
        ...

    def usage(self, queue: str) -> float:
        """vCPUs that the running and starting jobs of a queue hold."""
        ...

    def share_usage(self, queue: str) -> list[tuple[str, float]]:
        """Of a fair-share queue: (share, vCPUs that its jobs hold) of all that hold some, the largest first."""
        ...

    def waiting_reason(self, job: Job, spec: Specification) -> str:
        """The statusReason to show for a job that waits; "" if there is nothing to say."""
        ...
