"""(b) 10,000 no-op jobs from submission to all SUCCEEDED, with the isolation that any job gets, beside HyperQueue's LocalCluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from bench import peers, targets
from bench.load import drive
from bench.peers import NotRun
from bench.report import Line, compare, show
from bench.targets import Target, Yard

GOAL = 2
CORES = peers.HYPERQUEUE_CORES
PATIENCE_S = 600.0
NO_OP = "/bin/true"


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print. Each alternation has a fresh service and a fresh LocalCluster."""
    jobs = 600 if is_quick else 10_000
    bare = Line("bare spawn and reap, one after another")
    theirs = Line("HyperQueue")
    as_array = Line(f"Batchyard, an array of {jobs:,}")
    one_by_one = Line(f"Batchyard, {jobs:,} submissions")
    for _ in range(alternations):
        bare.figures.append(_spawns_per_second(300 if is_quick else 2000))
        if not theirs.why_not:
            try:
                theirs.figures.append(jobs / peers.hyperqueue(jobs))
            except NotRun as why:
                theirs.why_not = str(why)
        as_array.figures.append(jobs / _with_service(lambda yard: _array(yard, jobs)))
        one_by_one.figures.append(jobs / _with_service(lambda yard: _submissions(yard, jobs)))
    for line in (as_array, one_by_one):
        compare(line, theirs, at_least=GOAL)
        line.compared += f"{', ' if line.compared else ''}{line.median / bare.median:.2f} x bare"
    show(f"(b) {jobs:,} x {NO_OP} on {CORES} vCPUs, from submission to all SUCCEEDED", [bare, theirs, as_array, one_by_one])


def _spawns_per_second(count: int) -> float:
    """The machine's yardstick: nothing but starting the process and taking in its end."""
    started = time.perf_counter()
    for _ in range(count):
        os.waitpid(os.posix_spawn(NO_OP, [NO_OP], {}), 0)
    return count / (time.perf_counter() - started)


def _with_service(measure: Callable[[Yard], float]) -> float:
    """Run `measure` on a fresh service with as many vCPUs as HyperQueue has cores; the instance is warm, as HyperQueue's workers are."""
    with targets.running_yard("--vcpus", str(CORES), "--memory-mib", "4096") as yard:
        yard.queue_of("bench", yard.environment_of("bench", max_vcpus=CORES, min_vcpus=CORES))
        yard.definition_of("bench", NO_OP)
        yard.until(yard.submit("bench", "bench", "warm"), "SUCCEEDED")
        return measure(yard)


def _array(yard: Yard, size: int) -> float:
    started = time.perf_counter()
    parent = yard.submit("bench", "bench", "array", arrayProperties={"size": size})
    _until(lambda: yard.job(parent)["status"] in ("SUCCEEDED", "FAILED"))
    seconds = time.perf_counter() - started
    summary = yard.job(parent)["arrayProperties"]["statusSummary"]
    assert summary["SUCCEEDED"] == size, summary
    return seconds


def _submissions(yard: Yard, count: int) -> float:
    target = targets.batchyard_target(yard)
    requests = target.submissions(count, "single", {"environment": []})
    started = time.perf_counter()
    target.note(drive(target.address, requests, 16).bodies)
    # Cheap questions only: the last one to be submitted is among the last to end; then nothing may be left.
    _until(lambda: yard.job(target.answered[-1])["status"] in ("SUCCEEDED", "FAILED"))
    _until(lambda: not any(_some(target, yard, status) for status in ("RUNNABLE", "STARTING", "RUNNING")))
    seconds = time.perf_counter() - started
    assert target.listed(("SUCCEEDED",)) >= set(target.answered), "not all jobs succeeded"
    return seconds


def _some(target: Target, yard: Yard, status: str) -> list[Any]:
    found: list[Any] = yard.batch.list_jobs(jobQueue=target.queue, jobStatus=status, maxResults=1)["jobSummaryList"]
    return found


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("the jobs did not end")
        time.sleep(0.05)
