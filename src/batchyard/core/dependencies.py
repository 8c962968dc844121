"""Who waits for whom: plain dependencies, and the children of arrays (specification, section 2.8).

The children of an array are bits of whole numbers, child i being bit i: ten thousand of them are 1.25 kB, and what is ready, what
is doomed and what is left follow from a few bitwise operations. A child has no record before its first move, so most of its
states are never written down: they follow from the masks here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batchyard.model.job import Dependency, DependencyKind, Status


def standing(status: Status | None) -> bool | None:
    """Of a whole dependency: True = met, False = never to be met, None = not decided yet. An unknown job is never met."""
    if status is None or status is Status.FAILED:
        return False
    return True if status is Status.SUCCEEDED else None


def all_bits(size: int) -> int:
    return (1 << size) - 1


def bits(mask: int) -> Iterator[int]:
    """The numbers of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass(slots=True)
class Children:
    """The working state of an array: which children have a record, and how those ended. Rebuilt from their records at start."""

    size: int
    moved: int = 0  # have a record
    succeeded: int = 0
    failed: int = 0  # have a record that is FAILED
    sequential: bool = False
    held: bool = False  # a dependency on whole jobs is not met yet
    stopped: bool = False  # cancelled or terminated: children without a record are FAILED
    # N_TO_N: of each array that this one follows, what has succeeded and what can never succeed any more
    leaders_succeeded: int = -1
    leaders_failed: int = 0

    def doomed(self) -> int:
        """Children without a record that can never run: a leader failed, an earlier one failed, or the array was stopped."""
        unmoved = all_bits(self.size) & ~self.moved
        if self.stopped:
            return unmoved
        dead = self.leaders_failed & unmoved
        if self.sequential:
            broken = self.failed | dead
            if broken:
                first = (broken & -broken).bit_length()
                dead |= unmoved >> first << first
        return dead

    def ready(self) -> int:
        """Children without a record whose dependencies are met."""
        if self.held or self.stopped:
            return 0
        able = all_bits(self.size) & self.leaders_succeeded & ~self.moved
        if self.sequential:
            able &= self.succeeded << 1 | 1
        return able & ~self.doomed() if able else 0

    def lost(self) -> int:
        """Every child that is or counts as FAILED."""
        return self.failed | self.doomed()

    def is_settled(self) -> bool:
        return (self.succeeded | self.lost()) == all_bits(self.size)

    def status_without_record(self, index: int) -> Status:
        bit = 1 << index
        if self.doomed() & bit:
            return Status.FAILED
        return Status.RUNNABLE if self.ready() & bit else Status.PENDING


def is_sequential(depends_on: Sequence[Dependency]) -> bool:
    return any(d.kind is DependencyKind.SEQUENTIAL for d in depends_on)
