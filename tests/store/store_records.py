"""Records to keep: one of each kind with every member set, and short ways to make jobs."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from batchyard.model.capacity import Environment, Health, Instance, InstanceState, Queue, Resources, State
from batchyard.model.definition import Definition
from batchyard.model.job import Attempt, Dependency, DependencyKind, Job, RetryRule, Specification, Status
from batchyard.store.records import Changes
from batchyard.store.sql import Store

QUEUE = "arn:aws:batch:r:1:job-queue/q"

ENVIRONMENT = Environment(
    arn="arn:ce",
    name="ce",
    account="1",
    region="r",
    uuid="u",
    kind="MANAGED",
    state=State.DISABLED,
    health=Health.INVALID,
    health_reason="no",
    spot=True,
    min_vcpus=1,
    max_vcpus=8,
    wanted_vcpus=2,
    instance_types=("optimal", "m5"),
    idle_s=1.5,
    provider="slurm",
    generation=3,
    service_role="role",
    ecs_cluster_arn="cluster",
    settings={"type": "SPOT", "deep": {"a": [1, 2.5, None, "ü"]}},
    update_policy={"terminateJobsOnUpdate": True},
    context="c",
    tags={"k": "v"},
    created_at_ms=5,
)
A_QUEUE = Queue(
    arn=QUEUE,
    name="q",
    account="1",
    region="r",
    priority=3,
    environments=("arn:ce", "arn:ce2"),
    orders=(1, 7),
    state=State.DISABLED,
    health=Health.UPDATING,
    health_reason="why",
    spill_idle=True,
    tags={"batchyard:spill": "idle"},
    created_at_ms=6,
)
DEFINITION = Definition(
    arn="arn:d:1", name="d", revision=1, account="1", region="r", active=False, properties={"x": [{}]}, tags={"a": ""}, created_at_ms=7
)
INSTANCE = Instance(
    id="i-1",
    environment="arn:ce",
    type_name="m5.large",
    room=Resources(2.5, 100, 1),
    spot=True,
    state=InstanceState.STOPPING,
    generation=2,
    launched_for=QUEUE,
    launched_at_ms=1,
    idle_since_ms=2,
    reclaim_at_ms=3,
    drained=True,
    price_per_hour=0.25,
)
ATTEMPT = Attempt(
    id="a" * 32,
    number=2,
    instance="i-1",
    environment="arn:ce",
    log_stream="d/default/a",
    placed_at_ms=1,
    price_per_hour=0.1,
    started_at_ms=2,
    stopped_at_ms=3,
    exit_code=0,
    status_reason="ended",
    reason="because",
    peak_memory_mib=1.5,
    cpu_s=2.5,
)


def spec(id: str, **more: Any) -> Specification:
    fields = {"name": "n", "queue": QUEUE, "definition": "arn:aws:batch:r:1:job-definition/d:1", "needs": Resources(1, 100), **more}
    return Specification(id=id, account="1", region="r", **fields)


FULL_SPEC = spec(
    "j1",
    needs=Resources(0.25, 4, 2),
    attempts=4,
    retry_rules=(RetryRule("RETRY", "Host*", None, "1*"),),
    timeout_s=60,
    depends_on=(Dependency("x:3"), Dependency("", DependencyKind.SEQUENTIAL), Dependency("y", DependencyKind.N_TO_N)),
    array_size=5,
    platform="FARGATE",
    log_group="g",
    log_prefix="p",
    created_at_ms=9,
    tags={"t": "ä"},
    effective=Raw(b'{"command":["a b"]}'),
    extras=Raw(b'{"parameters":{"k":"v"}}'),
)


def job(id: str, status: Status = Status.RUNNABLE, **more: Any) -> Job:
    return Job(**{"id": id, "spec_id": id.partition(":")[0], "status": status, "created_at_ms": 1, **more})


def child(parent: str, index: int, status: Status) -> Job:
    return job(f"{parent}:{index}", status, index=index)


FULL_JOB = job(
    "j1",
    Status.RUNNING,
    is_array=False,
    status_reason="s",
    started_at_ms=1,
    stopped_at_ms=2,
    runnable_at_ms=3,
    attempts=(ATTEMPT, ATTEMPT),
    current=ATTEMPT,
    waits_for=(Dependency("x"),),
    is_cancelled=True,
    is_terminated=True,
    stop_reason="why",
    children=(1, 2),
)


def write(store: Store, changes: Changes) -> None:
    store.stage(changes)
    store.commit()


def submitted(*jobs: Job, queue: str = QUEUE, **more: Any) -> Changes:
    """Changes that hold jobs, with a specification for each submission among them."""
    changes = Changes(jobs={j.id: (j, queue) for j in jobs})
    for one in jobs:
        if one.index is None:
            changes.specifications[one.id] = spec(one.id, queue=queue, **more)
    return changes
