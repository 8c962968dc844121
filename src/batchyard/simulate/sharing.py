"""Fair share in a simulation: policies of any kind, and what must hold of shares, worked out anew from all attempts that ever were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp
from random import Random

from batchyard.core import fairshare
from batchyard.engine.engine import Engine
from batchyard.model.capacity import Health, State
from batchyard.model.fairshare import SchedulingPolicy, ShareWeight
from batchyard.model.job import Job, Specification
from batchyard.model.view import JobQuery
from batchyard.simulate.chance import require

SHARES = ("a", "b1", "b2", "c")
PRIORITIES = (0, 1, 1, 9999)
_ALL = 1_000_000
_WEIGHTS = (0.0001, 0.25, 1.0, 999.0)


def new_policy(arn: str, account: str, region: str, random: Random) -> SchedulingPolicy:
    weights = (ShareWeight("a", random.choice(_WEIGHTS)), ShareWeight("b*", random.choice(_WEIGHTS)))
    return SchedulingPolicy(
        arn=arn,
        name=arn.rpartition("/")[2],
        account=account,
        region=region,
        decay_s=random.choice((0, 10, 60)),
        reservation=random.choice((0, 25, 50, 90)),
        distribution=weights[: random.randint(0, 2)],
    )


def check_held(engine: Engine) -> None:
    """What shares hold, and who is active, worked out anew from the jobs."""
    yard = engine.yard
    held: dict[tuple[str, str], float] = {}
    live: set[tuple[str, str]] = set()
    for job in yard.jobs.values():
        spec = yard.specifications[job.spec_id]
        if spec.share:
            live.add((spec.queue, spec.share))
            if job.current is not None:
                held[spec.queue, spec.share] = held.get((spec.queue, spec.share), 0) + spec.needs_of(job).vcpus
    for queue in yard.queues.values():
        sharing = yard.sharing(queue.arn)
        standings = sharing.standings if sharing is not None else ()
        for one in standings:
            key = (queue.arn, one.share)
            require(one.held_vcpus == held.pop(key, 0), f"share {one.share} of {queue.name} is said to hold {one.held_vcpus} vCPUs")
            require(one.is_active or key not in live, f"share {one.share} of {queue.name} has jobs and is not active")
            require(yard.shares.is_live(*key) == (key in live), f"share {one.share} of {queue.name} is said to have jobs, or to have none")
    require(not held, f"shares that nobody knows hold {held}")


def check_used(engine: Engine, past: Mapping[str, tuple[Job, Specification]]) -> None:
    """What shares have used follows from their attempts, whatever crashed meanwhile; also from those of `past` that are forgotten."""
    yard, now_ms = engine.yard, engine.world.now_ms()
    yard.now_ms = now_ms
    for queue in yard.queues.values():
        window_ms = fairshare.window_s(yard.shares.policy_of(queue.arn)) * 1000
        used: dict[str, float] = {}
        latest_ms = 0
        gone = [found for found in past.values() if found[1].queue == queue.arn and engine.store.job(found[1].id) is None]
        for job, spec in (*_all_jobs(engine, queue.arn), *gone):
            for attempt in (*job.attempts, *((job.current,) if job.current else ())):
                until_ms = now_ms if attempt.stopped_at_ms is None else attempt.stopped_at_ms
                latest_ms = max(latest_ms, until_ms)
                part = exp((until_ms - now_ms) / window_ms) - exp((attempt.placed_at_ms - now_ms) / window_ms)
                used[spec.share] = used.get(spec.share, 0) + spec.needs_of(job).vcpus * window_ms / 1000 * part
        sharing = yard.sharing(queue.arn)
        for one in sharing.standings if sharing is not None and latest_ms <= now_ms else ():  # else a node's clock is ahead
            due = used.get(one.share, 0)
            near = abs(one.used_vcpu_s - due) <= 1e-6 * (1 + due)
            require(near, f"share {one.share} of {queue.name} has used {due} vCPU-seconds, and is said to have used {one.used_vcpu_s}")


def with_children(engine: Engine, id: str) -> Iterator[tuple[Job, Specification]]:
    """A job as the store has it, of an array the children, and nodes."""
    job, spec = engine.store.job(id), engine.store.specification(id)
    assert job is not None and spec is not None
    yield from _parts(engine, job, spec)


def _all_jobs(engine: Engine, queue: str) -> Iterator[tuple[Job, Specification]]:
    """Those that have ended too, of a queue's arrays the children, and nodes."""
    for job, spec in engine.store.page(JobQuery(queue=queue, limit=_ALL)).jobs:
        yield from _parts(engine, job, spec)


def _parts(engine: Engine, job: Job, spec: Specification) -> Iterator[tuple[Job, Specification]]:
    if not job.is_array:
        yield job, spec
    if job.is_array or job.is_multi_node:
        yield from engine.store.page(JobQuery(array=job.id, limit=_ALL)).jobs


def check_kept(engine: Engine, placed_in: set[str]) -> None:
    """Queues in which jobs were placed in this turn hold no more than they leave to shares that are not active."""
    yard = engine.yard
    for arn in placed_in:
        sharing = yard.sharing(arn)
        if sharing is None or not sharing.policy.reservation:
            continue
        environments = [yard.environments[e] for e in yard.queues[arn].environments]
        everything = sum(e.max_vcpus for e in environments if e.state is State.ENABLED and e.health is Health.VALID)
        kept = everything * (sharing.policy.reservation / 100) ** sum(s.is_active for s in sharing.standings)
        held = sum(s.held_vcpus for s in sharing.standings)
        require(held <= everything - kept + 1e-6, f"{arn} holds {held} of {everything} vCPUs, and {kept} are reserved")


def is_kept_out(engine: Engine, spec: Specification) -> bool:
    """Whether a job is larger than all that the active shares of its queue may hold together."""
    return spec.vcpus > fairshare.allowance(engine.yard, engine.yard.queues[spec.queue]).most_vcpus
