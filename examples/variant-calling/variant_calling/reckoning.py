"""What became of every job of a run: attempts, times, cost; from DescribeJobs and the service's prices."""

from __future__ import annotations

import dataclasses
import typing

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
    created_at_ms: int
    attempts: tuple[Attempt, ...]
    cost_usd: float

    @property
    def waited_s(self) -> float:
        """From submission to the start of the first attempt, in seconds: dependencies and queue together."""
        starts = [attempt.started_at_ms for attempt in self.attempts if attempt.started_at_ms]
        return max(0, min(starts) - self.created_at_ms) / 1_000 if starts else 0.0

    @property
    def ran_s(self) -> float:
        """Seconds of all attempts together."""
        return sum(attempt.ran_s for attempt in self.attempts)


def record(step: str, detail: dict[str, typing.Any], cost_usd: float | None, *, spot: bool) -> Record:
    """The record of a job from DescribeJobs' detail of it; without a cost of the service it is estimated."""
    attempts = tuple(_attempt(each) for each in detail.get("attempts") or [])
    index = (detail.get("arrayProperties") or {}).get("index")
    needs = {each["type"]: each["value"] for each in (detail.get("container") or {}).get("resourceRequirements") or []}
    return Record(
        job_id=detail["jobId"],
        label=step if index is None else f"{step}[{index}]",
        step=step,
        status=detail["status"],
        reason=detail.get("statusReason", ""),
        created_at_ms=detail["createdAt"],
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
