"""The shares of fair-share queues: what each holds, has used and waits with. Kept beside the jobs, so that no turn looks at all of them.

What shares hold and how many unfinished jobs they have follows from the jobs; what they have used is a record that is written
whenever one comes to hold more or less, so that a server that starts again goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from batchyard.core import fairshare
from batchyard.model.capacity import Queue
from batchyard.model.fairshare import SchedulingPolicy, ShareUsage, Standing
from batchyard.model.fault import client_fault
from batchyard.model.job import Attempt, Job, Specification
from batchyard.store.records import Changes


class _Share:
    """One share of one queue. `weight` is that of `policy`, looked up once."""

    __slots__ = ("held_vcpus", "live", "policy", "usage", "weight")

    def __init__(self, usage: ShareUsage) -> None:
        self.usage = usage
        self.live = 0  # unfinished jobs, an array and its children counted each
        self.held_vcpus = 0.0
        self.policy: SchedulingPolicy | None = None
        self.weight = fairshare.DEFAULT_WEIGHT


class Keeper(Protocol):
    """What of the yard the shares need."""

    changes: Changes
    now_ms: int

    @property
    def queues(self) -> Mapping[str, Queue]: ...
    @property
    def policies(self) -> Mapping[str, SchedulingPolicy]: ...


class Shares:
    """One per yard. Only jobs with a shareIdentifier come here."""

    def __init__(self, yard: Keeper) -> None:
        self._yard = yard
        self._queues: dict[str, dict[str, _Share]] = {}

    def policy_of(self, queue: str) -> SchedulingPolicy | None:
        """The policy of a fair-share queue; None for one that is first in, first out."""
        record = self._yard.queues.get(queue)
        return self._yard.policies.get(record.scheduling_policy) if record is not None and record.scheduling_policy else None

    def is_live(self, queue: str, share: str) -> bool:
        """Whether a share has unfinished jobs."""
        known = self._queues.get(queue, {}).get(share)
        return known is not None and known.live > 0

    def admit(self, queue: Queue, share: str) -> None:
        """Refuse a submission that would make one active share too many."""
        shares = self._queues.get(queue.arn, {})
        window = self._window(queue.arn)
        if len(shares) < fairshare.MOST_ACTIVE or (share in shares and self._is_active(shares[share], window)):
            return
        for name in [name for name, one in shares.items() if not self._is_active(one, window)]:
            self._drop(queue.arn, name)
        if len(shares) >= fairshare.MOST_ACTIVE:
            raise client_fault(
                f"Job queue {queue.name} has {fairshare.MOST_ACTIVE} active share identifiers, and there may be no more: "
                "submit under one of them, or wait until one is not used any more."
            )

    def standings(self, queue: str, firsts: Mapping[str, str]) -> list[Standing]:
        """How all shares of a queue stand at the yard's time. `firsts`: the first ready job of each share that has one."""
        policy = self.policy_of(queue)
        window = fairshare.window_s(policy)
        standings = []
        for name, one in self._queues.get(queue, {}).items():
            if one.policy is not policy:
                one.policy, one.weight = policy, fairshare.weight_of(policy, name)
            used = fairshare.used_by(one.usage, one.held_vcpus, self._yard.now_ms, window)
            active, run_s = self._is_active(one, window), fairshare.expected_run_s(one.usage, window)
            standings.append(Standing(name, one.weight, used, one.held_vcpus, active, run_s, firsts.get(name, "")))
        return standings

    def held(self, queue: str) -> dict[str, float]:
        """The vCPUs that each share holds."""
        return {name: one.held_vcpus for name, one in self._queues.get(queue, {}).items() if one.held_vcpus > 0}

    def index(self, old: Job | None, job: Job, spec: Specification) -> None:
        """A job's record has changed."""
        shares = self._queues.setdefault(spec.queue, {})
        one = shares.get(spec.share)
        if one is None:
            one = shares[spec.share] = _Share(ShareUsage(queue=spec.queue, share=spec.share, at_ms=job.created_at_ms))
        if old is None:
            one.live += 1
        before, after = old.current if old is not None else None, job.current
        if before is not None and (after is None or after.id != before.id):
            ended_at_ms = _end_of(before, job)
            self._hold(one, -spec.needs_of(job).vcpus, ended_at_ms)
            self._put(one, fairshare.ran(one.usage, (ended_at_ms - before.placed_at_ms) / 1000))
        if after is not None and (before is None or after.id != before.id):
            self._hold(one, spec.needs_of(job).vcpus, after.placed_at_ms)
        if job.status.is_final:
            one.live -= 1
            if not one.live:
                one.held_vcpus = 0.0  # what adding and taking away of fractions has left
                self._put(one, fairshare.settled(one.usage, 0.0, max(self._yard.now_ms, job.stopped_at_ms or 0), self._window(spec.queue)))

    def lay_down(self, kind: Specification) -> None:
        """At start: a job that rests."""
        shares = self._queues.setdefault(kind.queue, {})
        one = shares.get(kind.share)
        if one is None:
            one = shares[kind.share] = _Share(ShareUsage(queue=kind.queue, share=kind.share))
        one.live += 1

    def _hold(self, one: _Share, more_vcpus: float, at_ms: int) -> None:
        self._put(one, fairshare.changed(one.usage, one.held_vcpus, more_vcpus, at_ms, self._window(one.usage.queue)))
        one.held_vcpus += more_vcpus

    def settle(self, queue: str) -> None:
        """Bring the records up to now: the policy, and with it the window, is about to change."""
        for one in self._queues.get(queue, {}).values():
            if one.live:  # of the others the time of the record says since when they have no jobs
                self._put(one, fairshare.settled(one.usage, one.held_vcpus, self._yard.now_ms, self._window(queue)))

    def restore(self, usage: ShareUsage) -> None:
        """Take up a record that was read from the store, after all jobs have been."""
        self._queues.setdefault(usage.queue, {}).setdefault(usage.share, _Share(usage)).usage = usage

    def drop_queue(self, queue: str) -> None:
        for name in list(self._queues.pop(queue, {})):
            self._yard.changes.shares[f"{queue}/{name}"] = None

    def _drop(self, queue: str, share: str) -> None:
        del self._queues[queue][share]
        self._yard.changes.shares[f"{queue}/{share}"] = None

    def _put(self, one: _Share, usage: ShareUsage) -> None:
        one.usage = usage
        self._yard.changes.shares[f"{usage.queue}/{usage.share}"] = usage

    def _window(self, queue: str) -> float:
        return fairshare.window_s(self.policy_of(queue))

    def _is_active(self, one: _Share, window: float) -> bool:
        return one.live > 0 or self._yard.now_ms - one.usage.at_ms < window * 1000


def _end_of(attempt: Attempt, job: Job) -> int:
    """When an attempt ended, which the job's record says."""
    closed = job.attempts[-1] if job.attempts and job.attempts[-1].id == attempt.id else attempt
    return closed.stopped_at_ms or attempt.placed_at_ms
