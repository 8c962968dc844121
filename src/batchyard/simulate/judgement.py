"""What must hold when all is quiet: every job has ended as the rules say, or there is a reason that keeps it from running."""

from __future__ import annotations

from collections.abc import Iterable

from batchyard.core import gangs as core_gangs
from batchyard.core import growth, reclaiming, retries
from batchyard.core.lifecycle import CHILD_FAILED, DEPENDENT_FAILED, TIMED_OUT
from batchyard.core.scratch_space import could_hold
from batchyard.engine.engine import Engine
from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import Health, InstanceState
from batchyard.model.job import Dependency, DependencyKind, Job, Specification, Status, child_id
from batchyard.model.view import JobQuery
from batchyard.simulate import gangs, sharing
from batchyard.simulate.callers import WRONG
from batchyard.simulate.chance import require

S = Status


def at_rest(engine: Engine, read: EngineReader, held: Iterable[str]) -> None:
    """Nothing moves any more, and nobody's setting stands in the way: what has not ended cannot run, and says why."""
    require(not engine.yard.attempts, "all is quiet and attempts are still held")
    require(set(held) == engine.yard.instances.keys(), "the node holds other instances than the engine")
    for queue in engine.yard.queues.values():
        require(queue.health is not Health.DELETING, f"{queue.name} is still being deleted")
    for environment in engine.yard.environments.values():
        require(environment.health is not Health.DELETING, f"{environment.name} is still being deleted")
    for instance in engine.yard.instances.values():
        require(instance.state is InstanceState.RUNNING, f"{instance.id} is {instance.state} for ever")
    for job in engine.yard.jobs.values():
        require(_cannot_go_on(engine, job), f"{job.id} is {job.status} for ever and could run")
        told = read.explain(job.id)
        require(told is not None and bool(told.summary), f"nothing explains why {job.id} is {job.status}")
        assert told is not None
        require("about to" not in told.summary and "starting" not in told.summary, f"{job.id}: {told.summary!r}, and all is quiet")


def _cannot_go_on(engine: Engine, job: Job) -> bool:
    yard = engine.yard
    spec = yard.specifications[job.spec_id]
    if job.node is not None:
        return job.spec_id in yard.jobs  # which is judged by itself
    if job.is_array:
        ready = yard.arrays[job.id].ready()
        waiting = any(child_id(job.id, i) in yard.jobs for i in range(spec.array_size))
        follows = any(_whole(d) in yard.jobs for d in spec.depends_on)
        return waiting or follows or (bool(ready) and _is_stuck(engine, spec))
    if job.status is S.PENDING:
        return any(_whole(d) in yard.jobs for d in job.waits_for)
    return job.status is S.RUNNABLE and _is_stuck(engine, spec)


def _whole(dependency: Dependency) -> str:
    """The job that a dependency is on, or that what it is on is part of."""
    return dependency.job_id.partition(":")[0].partition("#")[0]


def _is_stuck(engine: Engine, spec: Specification) -> bool:
    """No environment that is scaled for the queue could ever take such a job, or one that came before it and blocks."""
    if _is_hopeless(engine, spec):
        return True
    head = next(iter(engine.yard.ready(spec.queue)), None)
    ahead = [w for w in engine.yard.ready(spec.queue) if w.spec.id <= spec.id or w.number > 1 or spec.share]
    return head is not None and any(_is_hopeless(engine, w.spec) for w in ahead)


def _is_hopeless(engine: Engine, spec: Specification) -> bool:
    queue = engine.yard.queues[spec.queue]
    if sharing.is_kept_out(engine, spec):
        return True
    scaled = growth.scalable(engine.yard, queue)
    if spec.nodes:
        chosen = core_gangs.environment_of(engine.yard, queue, spec)
        return chosen is None or chosen.arn not in scaled
    environments = [engine.yard.environments[arn] for arn in scaled]
    environments = [e for e in environments if could_hold(engine.yard, e.provider, spec.needs.scratch_mib)]
    return all(reclaiming.least_room(engine.yard, environment, spec.needs) is None for environment in environments)


def at_the_end(engine: Engine, read: EngineReader, submitted: dict[str, Specification]) -> None:
    """Every submission has ended; each as the rules say."""
    require(not engine.yard.jobs, f"not finished: {sorted(engine.yard.jobs)[:5]}")
    for id in submitted:
        found = read.job(id)
        if found is None:
            continue  # it was never acknowledged; those that were are looked for elsewhere
        job, spec = found
        if spec.array_size:
            _array(read, job, spec)
            continue
        if spec.nodes:
            gangs.judge(read, job, spec)
        _job(read, job, spec)


def _array(read: EngineReader, parent: Job, spec: Specification) -> None:
    page = read.jobs(JobQuery(array=parent.id, limit=spec.array_size))
    children = [job for job, _ in page.jobs]
    require([c.index for c in children] == list(range(spec.array_size)), f"the children of {parent.id} are not all there")
    good = sum(c.status is S.SUCCEEDED for c in children)
    require(parent.children == (good, spec.array_size - good), f"{parent.id} counts {parent.children}, {good} succeeded")
    require(all(c.status.is_final for c in children), f"{parent.id} has ended before its children")
    require((parent.status is S.SUCCEEDED) == (good == spec.array_size), f"{parent.id} is {parent.status} with {good} good children")
    if parent.status is S.FAILED:
        known = {CHILD_FAILED, DEPENDENT_FAILED, WRONG, parent.stop_reason}
        require(parent.status_reason in known, f"{parent.id} failed: {parent.status_reason!r}")
    for child in children:
        _job(read, child, spec)
        if child.attempts and child.index and any(d.kind is DependencyKind.SEQUENTIAL for d in spec.depends_on):
            require(children[child.index - 1].status is S.SUCCEEDED, f"{child.id} ran although the one before it failed")


def _job(read: EngineReader, job: Job, spec: Specification) -> None:
    attempts = job.attempts
    for attempt in attempts:
        require(attempt.stopped_at_ms is not None, f"an attempt of {job.id} has no end")
        lost = attempt.status_reason.startswith(("Host EC2", "Your Spot", "Task failed"))
        require(not lost or attempt.exit_code is None, f"{job.id}: {attempt.status_reason} with an exit code")
    for attempt in attempts[:-1]:
        again = retries.verdict(spec, attempt) and attempt.status_reason != TIMED_OUT
        require(again, f"{job.id} was tried again after {attempt.status_reason!r}")
    if job.status is S.SUCCEEDED:
        require(bool(attempts) and attempts[-1].exit_code == 0, f"{job.id} succeeded without exit code 0")
    elif not job.is_terminated and not job.is_cancelled and job.status_reason not in (DEPENDENT_FAILED, WRONG):
        over = bool(attempts) and (not retries.verdict(spec, attempts[-1]) or attempts[-1].status_reason == TIMED_OUT)
        require(over, f"{job.id} failed ({job.status_reason!r}) with an attempt left")
    _dependencies(read, job, spec)


def _dependencies(read: EngineReader, job: Job, spec: Specification) -> None:
    """Nothing runs before what it waits for has succeeded, and nothing fails for a dependency that did not fail."""
    states = []
    for dependency in spec.depends_on:
        if not dependency.job_id:
            continue
        by_child = dependency.kind is DependencyKind.N_TO_N and job.index is not None
        leader = child_id(dependency.job_id, job.index or 0) if by_child else dependency.job_id
        found = read.job(leader)
        states.append(found[0].status if found else S.FAILED)
        if job.attempts and found is not None:
            ended_ms = found[0].stopped_at_ms or 0
            require(found[0].status is S.SUCCEEDED, f"{job.id} ran although {leader} is {found[0].status}")
            require(ended_ms <= job.attempts[0].placed_at_ms, f"{job.id} ran before {leader} had succeeded")
    if job.status_reason == DEPENDENT_FAILED and job.index is None:
        require(S.FAILED in states, f"{job.id} failed for a dependency, and none failed: {states}")
