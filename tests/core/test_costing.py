"""What attempts cost."""

from __future__ import annotations

import pytest

from batchyard.core.costing import attempt_cost, job_cost, share
from batchyard.model.capacity import NOTHING, Resources
from batchyard.model.job import Attempt, Job, Status

HOUR_MS = 3_600_000


def attempt(stopped_at_ms: int | None, price: float = 0.5) -> Attempt:
    return Attempt(
        id="a",
        number=1,
        instance="i",
        environment="e",
        log_stream="",
        placed_at_ms=HOUR_MS,
        started_at_ms=HOUR_MS + 10,
        stopped_at_ms=stopped_at_ms,
        price_per_hour=price,
    )


@pytest.mark.parametrize(
    ("needs", "room", "part"),
    [
        (Resources(1, 100), Resources(4, 1000), 0.25),
        (Resources(1, 500), Resources(4, 1000), 0.5),
        (Resources(8, 500), Resources(4, 1000), 1.0),
        (Resources(1, 1), NOTHING, 0.0),
    ],
)
def test_the_larger_part_counts(needs: Resources, room: Resources, part: float) -> None:
    assert share(needs, room) == part


def test_an_attempt_costs_from_its_placement_on() -> None:
    assert attempt_cost(attempt(3 * HOUR_MS), now_ms=99 * HOUR_MS) == 1.0
    assert attempt_cost(attempt(None), now_ms=2 * HOUR_MS) == 0.5
    assert attempt_cost(attempt(None), now_ms=0) == 0.0


def test_a_job_costs_all_its_attempts() -> None:
    job = Job(id="j", spec_id="j", status=Status.RUNNABLE, created_at_ms=0, attempts=(attempt(2 * HOUR_MS), attempt(3 * HOUR_MS)))
    assert job_cost(job, 99 * HOUR_MS) == 1.5
    running = Job(id="j", spec_id="j", status=Status.RUNNING, created_at_ms=0, attempts=job.attempts, current=attempt(None, 1.0))
    assert job_cost(running, 2 * HOUR_MS) == 2.5
