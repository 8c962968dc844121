"""What callers ask of the engine. Each is decided in a turn, in the order of arrival, and answered once the turn is durable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from batchyard.model.capacity import Environment, Instance, Queue
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy
from batchyard.model.job import Specification, Status


class Submit(Struct, frozen=True):
    """Make a job (or an array) of a specification. Answer: None; the job exists once answered.

    `settled` holds the final status of those dependencies that are finished and no longer in memory (looked up by the caller,
    safe because a final status never changes). `wrong` is the statusReason of a job that AWS accepts and fails at once, "" else.
    """

    spec: Specification
    settled: dict[str, Status] = {}
    wrong: str = ""


class Cancel(Struct, frozen=True):
    """CancelJob: ends a job that has not reached STARTING; no effect on others. An array's parent: all its children."""

    job_id: str
    reason: str


class Terminate(Struct, frozen=True):
    """TerminateJob: as Cancel, and stops what is STARTING or RUNNING."""

    job_id: str
    reason: str


class TagJob(Struct, frozen=True):
    """Replace the tags of a submission. Answer: None."""

    spec: Specification


class Reclaim(Struct, frozen=True):
    """Take an instance away after a notice, as EC2 does with Spot. Answer: the instance's new record. Fault if unknown."""

    instance: str
    notice_s: float | None = None


class EndAll(Struct, frozen=True):
    """Terminate every job that is not finished (batchyard down), those that wait first. Answer: how many were told to end; with `most`
    at most so many, and 0 when none is left."""

    reason: str
    most: int | None = None


class Forget(Struct, frozen=True):
    """Delete the records of jobs that ended, and of definitions that went out of use, before these times; at most so many of each.
    None: no such. Answer: how many went; 0 when there is no more."""

    jobs_before_ms: int | None = None
    definitions_before_ms: int | None = None
    most: int = 100


class Catalogue(Protocol):
    """The named things, as an `Edit` sees them: the newest state, with a hand to change it. Keys are ARNs."""

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
    def now_ms(self) -> int: ...

    def latest_revision(self, account: str, region: str, name: str) -> int:
        """The highest revision ever registered under a name, 0 if none: revisions are never used again."""
        ...

    def put(self, record: Environment | Queue | Definition | Consumable | SchedulingPolicy) -> None: ...

    def drop(self, record: Consumable | SchedulingPolicy) -> None:
        """Take away a record that nothing hangs on."""
        ...


class Edit(Struct, frozen=True):
    """Change named things. `act` is a pure function of the catalogue: it raises a Fault (then nothing is changed) or puts
    records and returns the answer. To delete a queue or an environment put it with health DELETING: the engine ends what
    hangs on it and then removes the record by itself."""

    act: Callable[[Catalogue], Any]


Request = Submit | Cancel | Terminate | TagJob | Reclaim | EndAll | Edit | Forget
