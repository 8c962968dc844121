"""The scratch space of a machine as a scheduled resource: what of it may still be promised in one cycle, and why a job waits for it.

It belongs to the machine of a provider, not to an instance. What a job asks for (`batchyard:scratch-gib`) is promised to its attempt for
as long as that is held. Jobs that ask for nothing never wait for it; a machine whose scratch space is not healthy takes no job at all
(docs/decisions/0033).

A head that waits for scratch space blocks its queue, as one that waits for memory does. Besides, what it waits for is kept for it from
queues that come after, so that their jobs cannot take it away piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

from batchyard.core.growth import is_open
from batchyard.model.capacity import Environment, Queue, Scratch
from batchyard.model.tags import SCRATCH
from batchyard.model.view import Reason

# Our own, in the form of AWS's reasons: who looks for `MISCONFIGURATION:` finds that the job will never start as things are.
TOO_MUCH = (
    "MISCONFIGURATION:BATCHYARD_SCRATCH_SPACE - The job asks for {asked} of scratch space (tag {tag}), and this machine can promise"
    " {has} in all. Ask for at most {most}, or start the server with --scratch-gib {enough} or more."
)
_NOT_PROMISED = 0.1  # of --scratch-gib, at most: what file systems need themselves, and what is left to jobs without a promise


class ScratchView(Protocol):
    """What of the yard is looked at."""

    @property
    def environments(self) -> Mapping[str, Environment]: ...

    def scratch(self, provider: str) -> Scratch | None:
        """See `YardView`."""
        ...


class Kept(NamedTuple):
    """What is kept for the head of a queue."""

    queue: str  # ARN
    mib: int


class Promises:
    """One cycle's view: `take` in the order in which jobs come. `kept` says, per provider, for whose heads some is kept, in their order."""

    def __init__(self, view: ScratchView) -> None:
        self._view = view
        self._seen: dict[str, Scratch | None] = {}
        self._left_mib: dict[str, int] = {}
        self.kept: dict[str, list[Kept]] = {}

    def offers(self, environment: Environment, mib: int) -> bool:
        """Whether a job that asks for so much (0: for nothing) may be placed there, as far as scratch space goes."""
        seen = self._look(environment.provider)
        if seen is None:
            return not mib
        return seen.is_healthy and (not mib or mib <= self._left_mib[environment.provider])

    def take(self, environment: Environment, mib: int) -> None:
        """It is placed there."""
        if mib:
            self._left_mib[environment.provider] -= mib

    def is_short(self, queue: Queue, mib: int) -> bool:
        """Whether no environment of the queue that is open could take such a job for want of scratch space alone."""
        there = list(_open(self._view, queue))
        return bool(there) and not any(self.offers(environment, mib) for environment in there)

    def reserve(self, queue: Queue, mib: int) -> bool:
        """Take it in the first environment of the queue that offers it; whether there is one."""
        for environment in _open(self._view, queue):
            if self.offers(environment, mib):
                self.take(environment, mib)
                return True
        return False

    def keep(self, queue: Queue, mib: int) -> None:
        """What the head of a queue asks for is kept from those who come after; more than there can be is not."""
        if not mib:
            return
        for environment in _open(self._view, queue):
            provider = environment.provider
            if self._look(provider) is not None and could_hold(self._view, provider, mib):
                self._left_mib[provider] -= mib
                self.kept.setdefault(provider, []).append(Kept(queue.arn, mib))
                return

    def _look(self, provider: str) -> Scratch | None:
        if provider not in self._seen:
            seen = self._seen[provider] = self._view.scratch(provider)
            if seen is not None:
                self._left_mib[provider] = seen.free_mib
        return self._seen[provider]


def _open(view: ScratchView, queue: Queue) -> Iterator[Environment]:
    found = (view.environments.get(arn) for arn in queue.environments)
    yield from (environment for environment in found if environment is not None and is_open(environment))


def could_hold(view: ScratchView, provider: str, mib: int) -> bool:
    """Whether a provider's scratch space could hold so much, were all else gone. As long as nobody knows, it could."""
    if not mib:
        return True
    seen = view.scratch(provider)
    return seen is None or mib <= seen.capacity_mib


def is_taken(view: ScratchView, provider: str, mib: int) -> bool:
    """Whether so much could be promised there, but for others who have it now."""
    seen = view.scratch(provider)
    return seen is not None and seen.is_healthy and seen.free_mib < mib <= seen.capacity_mib


def reason(view: ScratchView, environment: Environment, mib: int) -> Reason | None:
    """Why a job that asks for so much (with all its nodes) finds no scratch space there now, and the fix. None if it does."""
    seen = view.scratch(environment.provider)
    if seen is None:
        return _unknown(environment, mib) if mib else None
    if not could_hold(view, environment.provider, mib):
        return Reason(
            environment.name,
            f"the job asks for {gib(mib)} of scratch space ({SCRATCH.name}), and this machine can promise {gib(seen.capacity_mib)} in all",
            f"ask for at most {_at_most(seen.capacity_mib)}, or start the server with --scratch-gib {_at_least(mib)} or more",
        )
    if not seen.is_healthy:
        return Reason(
            environment.name,
            f"this machine takes no job as long as its scratch space is not ready: {seen.why_not or 'its node does not say why'}",
            "wait; if that lasts, mend what is named (`batchyard compute` shows how it stands)",
        )
    if not mib or mib <= seen.free_mib:
        return None
    most = max(0, seen.free_mib)
    less = f", or ask for at most {_at_most(most)} ({SCRATCH.name})" if most else ""
    return Reason(
        environment.name,
        f"the job asks for {gib(mib)} of scratch space; of {gib(seen.capacity_mib)} that can be promised, {gib(seen.promised_mib)} are"
        f" promised to jobs that run, and {gib(seen.unpromised_mib)} are taken without a promise: {gib(mib - seen.free_mib)} short",
        f"wait for jobs to end{less}",
    )


def _unknown(environment: Environment, mib: int) -> Reason:
    return Reason(
        environment.name,
        f"the job asks for {gib(mib)} of scratch space, and this machine's node has not said yet how much there is",
        "wait: it says so as soon as its scratch space is there",
    )


def is_short_now(view: ScratchView, queue: Queue, mib: int) -> bool:
    """Whether scratch space alone keeps such a job from every environment of the queue that is open."""
    there = list(_open(view, queue))
    return bool(there) and all(reason(view, environment, mib) is not None for environment in there)


def kept_for_others(view: ScratchView, queue: Queue, mib: int, kept: Mapping[str, Sequence[Kept]]) -> str:
    """For a job that would find scratch space if none were kept for heads of queues that come before: for whom how much is; else ""."""
    said = ""
    for environment in _open(view, queue) if mib else ():
        seen = view.scratch(environment.provider)
        before = list(takewhile(lambda one: one.queue != queue.arn, kept.get(environment.provider, ())))
        kept_mib = sum(one.mib for one in before)
        if seen is None or not seen.is_healthy or mib > seen.free_mib:
            continue
        if mib <= seen.free_mib - kept_mib:
            return ""
        names = ", ".join(one.queue.rpartition("/")[2] for one in before)
        heads = "the job" if len(before) == 1 else "the jobs"
        said = (
            said or f"of {gib(seen.free_mib)} of scratch space that are free, {gib(kept_mib)} are kept for {heads} at the head of {names}"
        )
    return said


def too_much(view: ScratchView, environments: list[Environment], mib: int) -> str:
    """Our words for a job that these environments could take but for the scratch space that it asks for."""
    capacities = [seen.capacity_mib for e in environments if (seen := view.scratch(e.provider)) is not None]
    has = max(capacities, default=0)
    return TOO_MUCH.format(asked=gib(mib), tag=SCRATCH.name, has=gib(has), most=_at_most(has), enough=_at_least(mib))


def gib(mib: int) -> str:
    """MiB as people say it: GiB, exact to the MiB."""
    return f"{_decimals(round(mib * 1000 / 1024))} GiB"


def _at_most(mib: int) -> str:
    """The largest value of the tag that asks for no more."""
    return f"{_decimals(mib * 1000 // 1024)} GiB"


def _at_least(mib: int) -> int:
    return math.ceil(mib / 1024 / (1 - _NOT_PROMISED))


def _decimals(thousandths: int) -> str:
    return f"{thousandths / 1000:.3f}".rstrip("0").rstrip(".")
