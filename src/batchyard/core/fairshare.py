"""Fair share: whose job of a queue is next, and how much of the queue is kept for shares that are not active.

Theory
------
A *share* is a shareIdentifier within one queue. What it has used is vCPU-seconds of its attempts, older ones counting less: a
vCPU-second counts for exp(-age / window), so that a share which always holds n vCPUs comes to n x window. A share's *burden* is

    weight x (what it has used + what it holds now x what its jobs take on average)

where the second term is what its running jobs are expected to use. The share with the least burden is next: one that has just been
given room lets others go first, also when much room becomes free at once; and over time shares that always have work get
vCPU-time in inverse proportion to their weights, whatever the sizes and lengths of their jobs.
Within a share jobs go by priority, then in order of submission, retried ones first.

A share is *active* while it has jobs that are not finished, and for one window after. Of the vCPUs that the queue's environments
may have, (computeReservation / 100) ^ (number of active shares) are kept for those that are not active.

All of it is worked out from records, a weight and a time. Nothing here knows a clock.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from batchyard.model.capacity import Environment, Health, Queue, State
from batchyard.model.fairshare import SchedulingPolicy, ShareUsage, Sharing, Standing
from batchyard.model.view import Passing, Waiting, YardView

DEFAULT_WINDOW_S = 600  # AWS's, for shareDecaySeconds 0
DEFAULT_WEIGHT = 1.0
MOST_ACTIVE = 500  # share identifiers of one queue

UNMANAGED = "UNMANAGED"


def window_s(policy: SchedulingPolicy | None) -> float:
    """For how long what a share has used counts."""
    return float(policy.decay_s or DEFAULT_WINDOW_S) if policy is not None else float(DEFAULT_WINDOW_S)


def weight_of(policy: SchedulingPolicy | None, share: str) -> float:
    """The weight factor of a share: of its own entry, of a prefix that it starts with, or 1.0. Each share of a prefix has all of it."""
    for entry in policy.distribution if policy is not None else ():
        named = entry.identifier
        if share == named or (named.endswith("*") and share.startswith(named[:-1])):
            return DEFAULT_WEIGHT if entry.weight is None else entry.weight
    return DEFAULT_WEIGHT


# --- what a share has used ---


def used_by(usage: ShareUsage, held_vcpus: float, now_ms: int, window: float) -> float:
    """vCPU-seconds by `now_ms` of a share that has held so much ever since the record. A time before the record is taken for its own."""
    left = math.exp(-max(0, now_ms - usage.at_ms) / 1000 / window)
    return usage.vcpu_s * left + held_vcpus * window * (1 - left)


def settled(usage: ShareUsage, held_vcpus: float, now_ms: int, window: float) -> ShareUsage:
    """The record brought up to `now_ms`."""
    return usage if now_ms <= usage.at_ms else replace(usage, vcpu_s=used_by(usage, held_vcpus, now_ms, window), at_ms=now_ms)


def changed(usage: ShareUsage, held_vcpus: float, more_vcpus: float, at_ms: int, window: float) -> ShareUsage:
    """The record when at `at_ms` the share came to hold so much more (less, if negative). A time before the record is made up for."""
    if at_ms >= usage.at_ms:
        return settled(usage, held_vcpus, at_ms, window)
    late = more_vcpus * window * (1 - math.exp((at_ms - usage.at_ms) / 1000 / window))
    return replace(usage, vcpu_s=max(0.0, usage.vcpu_s + late))


def expected_run_s(usage: ShareUsage, window: float) -> float:
    """What a job of a share is expected to take; no more than the window, and that much as long as nobody knows."""
    return window if usage.run_s is None else min(usage.run_s, window)


def ran(usage: ShareUsage, run_s: float) -> ShareUsage:
    """The record after an attempt that took so long: the latest eight or so make the average."""
    before = run_s if usage.run_s is None else usage.run_s
    return replace(usage, run_s=before + (run_s - before) / 8)


# --- whose turn it is ---


def burden(standing: Standing) -> float:
    """What a share carries already: the least goes first. Rounded, so that equal shares are equal whatever turns there were."""
    return round(standing.weight * (standing.used_vcpu_s + standing.held_vcpus * standing.run_s), 3)


def in_turn(sharing: Sharing, ready: Callable[[str], Iterator[Waiting]], passing: Passing) -> Iterator[Waiting]:
    """The ready jobs of a fair-share queue in the order in which they are to start. `ready` gives those of one share, in their order.

    Each job that is yielded counts as placed for who is next, unless it has come to be among those `passing` meanwhile. Among equals
    the share goes first whose first job came first.
    """
    heap = [(burden(s), s.first, s.share, s) for s in sharing.standings if s.first]
    heapq.heapify(heap)
    sources: dict[str, Iterator[Waiting]] = {}
    while heap:
        _, first, share, standing = heap[0]
        source = sources.get(share)
        if source is None:
            source = sources[share] = ready(share)
        job = next(source, None)
        if job is None:
            heapq.heappop(heap)
            continue
        yield job
        if not is_passed(job, passing):
            standing = standing._replace(held_vcpus=standing.held_vcpus + job.spec.vcpus)
            heapq.heapreplace(heap, (burden(standing), first, share, standing))


def is_passed(job: Waiting, passing: Passing) -> bool:
    """Whether a job is among those that others pass."""
    return job.spec.needs in passing or job.spec.consumables in passing or job.job_id in passing


# --- what is kept for shares that are not active ---


class Allowance(NamedTuple):
    """How many vCPUs the active shares of a queue may hold together, and how many of them they do not hold yet."""

    most_vcpus: float
    left_vcpus: float
    all_vcpus: float
    active: int


UNBOUND = Allowance(math.inf, math.inf, math.inf, 0)


def allowance(view: YardView, queue: Queue) -> Allowance:
    """`UNBOUND` where nothing is kept: without fair share, and without a reservation."""
    policy = view.policy_of(queue.arn)
    sharing = view.sharing(queue.arn) if policy is not None and policy.reservation else None
    if sharing is None:
        return UNBOUND
    everything = sum(_maximum_vcpus(e) for arn in queue.environments if (e := view.environments.get(arn)) is not None)
    if not everything:  # nobody says how much there is
        return UNBOUND
    active = sum(s.is_active for s in sharing.standings)
    most = round(everything * (1 - reserved(sharing.policy.reservation, active)), 6)
    held = sum(s.held_vcpus for s in sharing.standings)
    return Allowance(most, most - held, everything, active)


def reserved(reservation: int, active: int) -> float:
    """The part (0 to 1) that is kept for shares that are not active."""
    return float((reservation / 100) ** active)


def _maximum_vcpus(environment: Environment) -> float:
    """What an environment adds to the queue's maximum; of an UNMANAGED one what its owner says, which is nothing if he does not."""
    if environment.state is not State.ENABLED or environment.health not in (Health.VALID, Health.UPDATING):
        return 0
    return (environment.unmanaged_vcpus or 0) if environment.kind == UNMANAGED else environment.max_vcpus


def within(jobs: Iterable[Waiting], vcpus: float) -> Iterator[Waiting]:
    """The first of `jobs` that need no more than so much together."""
    for job in jobs:
        vcpus -= job.spec.vcpus
        if vcpus < 0:
            return
        yield job


# --- a policy that makes sense ---


def overlapping(distribution: Mapping[str, float | None]) -> tuple[str, str] | None:
    """Two identifiers of which one covers the other (`UserA*` and `UserA1`); None if there are none such."""
    prefixes = sorted(name for name in distribution if name.endswith("*"))
    for prefix in prefixes:
        for name in distribution:
            if name != prefix and name.rstrip("*").startswith(prefix[:-1]):
                return prefix, name
    return None
