"""The outbox, which is not kept but follows from the records: what each provider is to do.

A STARTING attempt wants its Launch, a terminated one its StopAttempt, a pending instance its StartInstance. So after a crash between
the write and the launch the same effects are derived again, and the provider's promise ("already so counts as done") makes the
repeat harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

from msgspec import Struct

from batchyard.engine.ledger import Ledger
from batchyard.engine.yard import Yard
from batchyard.model.capacity import Instance, InstanceState
from batchyard.model.job import Attempt, Job, Specification, Status
from batchyard.model.messages import NoticeInstance, StartInstance, StopAttempt, StopInstance
from batchyard.store.records import Changes


class LaunchOrder(Struct, frozen=True):
    """What a Launch is made of, just before it is sent (see `engine/launching.py`): its environment holds credentials."""

    job: Job
    spec: Specification
    attempt: Attempt


class Order(NamedTuple):
    """An effect and the provider that is to carry it out."""

    provider: str
    effect: LaunchOrder | StartInstance | StopInstance | NoticeInstance | StopAttempt


def orders(yard: Yard, changes: Changes, before: Ledger) -> Iterator[Order]:
    """What follows from a turn's changes, compared with what was committed before it."""
    for id, instance in changes.instances.items():
        if instance is not None:
            yield from _instance_orders(yard, instance, before.instances.get(id))
    for id, (job, _queue) in changes.jobs.items():
        attempt = job.current
        if attempt is None:
            continue
        old = before.jobs.get(id)
        if job.status is Status.STARTING and not _was_starting(old, attempt):
            yield Order(_provider(yard, attempt.environment), LaunchOrder(job, yard.specifications[job.spec_id], attempt))
        if _is_to_stop(job) and (old is None or not _is_to_stop(old)):
            yield Order(_provider(yard, attempt.environment), StopAttempt(attempt.id))


def _was_starting(job: Job | None, attempt: Attempt) -> bool:
    """Whether the launch of an attempt was ordered before."""
    return job is not None and job.status.is_placed and job.current is not None and job.current.id == attempt.id


def _is_to_stop(job: Job) -> bool:
    """Whether the attempt of a job that is placed is to be stopped."""
    return job.status.is_placed and job.current is not None and job.is_being_stopped


def orders_for_instance(yard: Yard, id: str, held: Set[str]) -> Iterator[Order]:
    """All that a provider that came back is to do about an instance; `held` are the attempts that it has."""
    instance = yard.instances[id]
    yield from _instance_orders(yard, instance, None)
    provider = _provider(yard, instance.environment)
    for attempt_id in yard.attempts_on(id):
        job = yard.jobs[yard.attempts[attempt_id]]
        assert job.current is not None
        if attempt_id not in held and job.status is Status.STARTING:
            yield Order(provider, LaunchOrder(job, yard.specifications[job.spec_id], job.current))
        if _is_to_stop(job):
            yield Order(provider, StopAttempt(attempt_id))


def _instance_orders(yard: Yard, instance: Instance, old: Instance | None) -> Iterator[Order]:
    provider = _provider(yard, instance.environment)
    state = old.state if old is not None else None
    if instance.state is InstanceState.PENDING and state is None:
        yield Order(provider, StartInstance(instance))
    elif instance.state is InstanceState.STOPPING and state is not InstanceState.STOPPING:
        yield Order(provider, StopInstance(instance.id))
    elif instance.reclaim_at_ms is not None and (old is None or old.reclaim_at_ms is None) and not _is_outdated(yard, instance):
        yield Order(provider, NoticeInstance(instance.id, instance.reclaim_at_ms))


def _is_outdated(yard: Yard, instance: Instance) -> bool:
    """Whether an update of its environment ends it: of that there is no Spot notice."""
    return instance.generation != yard.environments[instance.environment].generation


def _provider(yard: Yard, environment: str) -> str:
    return yard.environments[environment].provider
