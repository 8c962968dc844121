"""What an attempt costs: its share of its instance's price for as long as it held it."""

from __future__ import annotations

from batchyard.model.capacity import Resources
from batchyard.model.job import Attempt, Job


def share(needs: Resources, room: Resources) -> float:
    """The part of an instance (0 to 1) that a job holds: the larger of its parts of vCPUs and of memory."""
    parts = [needs.vcpus / room.vcpus if room.vcpus else 0.0, needs.memory_mib / room.memory_mib if room.memory_mib else 0.0]
    return min(1.0, max(parts))


def attempt_cost(attempt: Attempt, now_ms: int) -> float:
    """USD. `price_per_hour` of an attempt is its share of the instance's price already."""
    until_ms = attempt.stopped_at_ms if attempt.stopped_at_ms is not None else now_ms
    return max(0, until_ms - attempt.placed_at_ms) / 3_600_000 * attempt.price_per_hour


def job_cost(job: Job, now_ms: int) -> float:
    """USD of all attempts of a job so far."""
    running = attempt_cost(job.current, now_ms) if job.current else 0.0
    return running + sum(attempt_cost(a, now_ms) for a in job.attempts)
