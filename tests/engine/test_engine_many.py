"""What concerns many jobs goes on over several turns, and is not forgotten in between."""

from __future__ import annotations

from typing import Any

import pytest
from engine_bench import CE, Bench, Health, Q, after
from msgspec.structs import replace

from batchyard.engine.engine import Engine, Options
from batchyard.model.capacity import Resources
from batchyard.model.requests import EndAll

FEW = 3


def few_at_once() -> Bench:
    bench = Bench(Resources(1, 8192))
    bench.options = Options(bench.options.rules, most_followed=FEW)
    bench.engine = Engine(bench.store, bench.world, bench.options)
    return bench


def on_and_on(bench: Bench) -> int:
    """Turns until the engine does not ask for another one at once."""
    turns = 0
    while bench.last.wake_at_ms is not None and bench.last.wake_at_ms <= bench.world.now:
        bench.turn()
        turns += 1
        assert turns < 100
    return turns


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_job_with_many_dependents(exit_code: int, restarts: bool) -> None:
    bench = few_at_once()
    leader = bench.submit()
    other = bench.submit(queue=held_queue(bench))
    dependents = [bench.submit(*after(leader)) for _ in range(10)]
    array, both = bench.submit(*after(leader), size=2), bench.submit(*after(leader, other))
    bench.finish(leader, exit_code=exit_code)
    assert bench.status(*dependents).count("PENDING") == 10 - FEW
    cancelled = dependents[-1]
    bench.cancel(cancelled)
    if restarts:
        bench.restart()
    assert on_and_on(bench) >= 1
    if exit_code:
        assert set(bench.status(*dependents, array, both)) == {"FAILED"}
        assert {bench.job(id).status_reason for id in dependents[:-1]} == {"Dependent Job failed"}
        return
    assert set(bench.status(*dependents[:-1])) <= {"RUNNABLE", "STARTING"} and bench.status(cancelled) == ["FAILED"]
    assert bench.children(array) == "RR"
    assert [d.job_id for d in bench.job(both).waits_for] == [other]


def held_queue(bench: Bench) -> str:
    """A queue without any environment to run in."""
    bench.environment("off", instance_types=("none",), max_vcpus=0)
    return bench.queue("held", ("off",)).arn


@pytest.mark.parametrize("restarts", [False, True])
def test_a_deleted_queue_with_many_jobs(restarts: bool) -> None:
    bench = few_at_once()
    runs = bench.submit()
    bench.start(runs)
    jobs = [*(bench.submit() for _ in range(10)), bench.submit(*after(runs)), bench.submit(size=2)]
    bench.put(replace(bench.engine.ledger.queues[Q], health=Health.DELETING))
    assert 0 < bench.status(*jobs).count("FAILED") < 10
    if restarts:
        bench.restart()
    bench.end(runs, exit_code=143)  # its room is free, and nobody takes it
    on_and_on(bench)
    assert set(bench.status(runs, *jobs)) == {"FAILED"} and bench.engine.ledger.queues == {}
    assert {bench.job(id).status_reason for id in jobs} <= {"JobQueue deleted", "Dependent Job failed"}


def test_all_end_so_many_at_a_time_and_those_that_wait_first() -> None:
    bench = few_at_once()
    runs = bench.submit()
    bench.start(runs)
    jobs = [*(bench.submit() for _ in range(7)), bench.submit(size=2)]
    told: list[Any] = []
    while not told or told[-1]:
        told.append(bench.ask(EndAll("the end", 4)))
    assert told == [4, 4, 1, 0]
    assert set(bench.status(*jobs)) == {"FAILED"} and bench.job(runs).is_terminated
    bench.end(runs, exit_code=143)
    assert bench.status(runs) == ["FAILED"] and CE in bench.engine.ledger.environments
