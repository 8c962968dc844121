"""What became of every job of a run: attempts, times, cost; from DescribeJobs and the service's prices."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    import collections.abc

ON_DEMAND_USD_PER_VCPU_HOUR = 0.048
SPOT_SHARE = 0.35
"""Where the service tells no price: the on-demand price of a vCPU of the m6i family (us-east-1, 2025), and a usual Spot share."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One start of a job."""

    instance: str
    stream: str
    started_at_ms: int | None
    stopped_at_ms: int | None
    exit_code: int | None
    reason: str

    @property
    def ran_s(self) -> float:
        """How long it ran, in seconds; 0 when it never began."""
        return max(0, (self.stopped_at_ms or 0) - self.started_at_ms) / 1_000 if self.started_at_ms else 0.0


@dataclasses.dataclass(frozen=True)
class Record:
    """One job as it ended."""

    job_id: str
    label: str
    step: str
    status: str
    reason: str
    ready_at_ms: int
    """When it was submitted, or when the last job that it waits for ended, if that is later."""
    attempts: tuple[Attempt, ...]
    cost_usd: float

    @property
    def queued_s(self) -> float:
        """Seconds from when it could have started to when it first did."""
        starts = [attempt.started_at_ms for attempt in self.attempts if attempt.started_at_ms]
        return max(0, min(starts) - self.ready_at_ms) / 1_000 if starts else 0.0

    @property
    def ended_at_ms(self) -> int:
        """When its last attempt ended; 0 when there was none."""
        return max((attempt.stopped_at_ms or 0 for attempt in self.attempts), default=0)

    @property
    def ran_s(self) -> float:
        """Seconds of all attempts together."""
        return sum(attempt.ran_s for attempt in self.attempts)


def record(
    step: str, detail: dict[str, typing.Any], cost_usd: float | None, *, spot: bool, after: collections.abc.Iterable[Record] = ()
) -> Record:
    """The record of a job from DescribeJobs' detail of it; without a cost of the service it is estimated.

    `after` are the records of the jobs that it waited for.
    """
    attempts = tuple(_attempt(each) for each in detail.get("attempts") or [])
    index = (detail.get("arrayProperties") or {}).get("index")
    needs = {each["type"]: each["value"] for each in (detail.get("container") or {}).get("resourceRequirements") or []}
    return Record(
        job_id=detail["jobId"],
        label=step if index is None else f"{step}[{index}]",
        step=step,
        status=detail["status"],
        reason=detail.get("statusReason", ""),
        ready_at_ms=max([detail["createdAt"], *(earlier.ended_at_ms for earlier in after)]),
        attempts=attempts,
        cost_usd=estimated_cost(attempts, float(needs.get("VCPU", 1)), spot=spot) if cost_usd is None else cost_usd,
    )


def estimated_cost(attempts: tuple[Attempt, ...], vcpus: float, *, spot: bool) -> float:
    """USD of the attempts' vCPU time at the table's price."""
    price = ON_DEMAND_USD_PER_VCPU_HOUR * (SPOT_SHARE if spot else 1.0)
    return sum(attempt.ran_s for attempt in attempts) / 3_600 * vcpus * price


def _attempt(found: dict[str, typing.Any]) -> Attempt:
    container = found.get("container") or {}
    return Attempt(
        instance=str(container.get("containerInstanceArn", "")).rpartition("/")[2],
        stream=container.get("logStreamName", ""),
        started_at_ms=found.get("startedAt"),
        stopped_at_ms=found.get("stoppedAt"),
        exit_code=container.get("exitCode"),
        reason=found.get("statusReason") or container.get("reason") or "",
    )
