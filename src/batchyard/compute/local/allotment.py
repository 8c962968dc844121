"""One attempt's part of the scratch space: what it holds in its directory and in layers, its limit, and what came of it."""

from __future__ import annotations

from typing import NamedTuple

from batchyard.compute.local.loop import boot_s
from batchyard.compute.local.scratch_shares import GRAIN_BYTES, LEAST_VCPUS
from batchyard.model.capacity import Resources
from batchyard.model.tags import SCRATCH

_MIB = 1024 * 1024
_AT_LIMIT = 0.98  # a write that would go beyond the limit is refused as a whole: who was refused holds a little less
_LATELY_S = 5.0


class Outcome(NamedTuple):
    """What came of an attempt's part. `limit_bytes` is None where there was none."""

    peak_bytes: int
    limit_bytes: int | None = None
    is_promised: bool = False
    met_limit: bool = False  # it was at its limit when it ended, or just before
    was_ended: bool = False  # by us, since it held more than its limit
    layer_bytes: int = 0  # of the peak, what was in layers of its containers
    crowded: str = ""  # what was nearly full when it held most there, and was ended by us for that

    @property
    def peak_mib(self) -> float:
        return round(self.peak_bytes / _MIB, 2)

    @property
    def reason(self) -> str:
        """Why an attempt failed that ended with another exit code than 0; "" if its limit had no part in that."""
        if self.crowded:
            held = f"the job held {amount(self.layer_bytes)} there in containers' own layers, more than any other"
            return f"OutOfScratchError: {self.crowded}, and {held}; write large files to /scratch or /tmp"
        if self.limit_bytes is None or not (self.met_limit or self.was_ended):
            return ""
        more = f"raise its tag {SCRATCH.name}" if self.is_promised else f"tag the job definition with {SCRATCH.name}"
        limit = amount(self.limit_bytes)
        if self.was_ended:
            held = f"{amount(self.peak_bytes)} of scratch space"
            if self.layer_bytes >= _MIB:
                held += f", {amount(self.layer_bytes)} of that in containers' own layers"
            return f"OutOfScratchError: the job held {held}, and its limit is {limit}; {more} to ask for more"
        return f"OutOfScratchError: the job had reached its limit of scratch space, {limit}, when it ended; {more} to ask for more"


class Part:
    """One attempt's."""

    __slots__ = (
        "attempt",
        "crowded",
        "here_bytes",
        "is_kept",
        "layer_bytes",
        "limit_bytes",
        "met_at_s",
        "path",
        "peak_bytes",
        "peak_layer_bytes",
        "promise_bytes",
        "vcpus",
        "was_ended",
        "was_lowered",
    )

    def __init__(self, attempt: str, needs: Resources, path: str) -> None:
        self.attempt, self.path = attempt, path
        self.vcpus, self.promise_bytes = max(needs.vcpus, LEAST_VCPUS), needs.scratch_mib * _MIB
        self.here_bytes = self.layer_bytes = 0  # held in its directory, and by its containers in layers of their own
        self.peak_bytes = self.peak_layer_bytes = 0
        self.limit_bytes: int | None = None
        self.is_kept = True  # the ground sees to its limit, as far as its directory goes
        self.was_lowered = False  # and it has not been walked since: it may have held more already
        self.met_at_s = float("-inf")
        self.was_ended = False
        self.crowded = ""

    @property
    def held_bytes(self) -> int:
        return self.here_bytes + self.layer_bytes

    @property
    def kept_bytes(self) -> int:
        """What cannot be taken from it: what it holds, unless that is more than it ever might."""
        if self.was_lowered or self.limit_bytes is None:
            return self.held_bytes
        return max(min(self.held_bytes, self.limit_bytes), self.here_bytes if self.is_kept else 0)

    @property
    def is_beyond(self) -> bool:
        """It holds more than its limit, and nothing below us will keep it from that. What the ground keeps it leaves to the ground."""
        is_watched = not self.is_kept or self.layer_bytes >= _MIB
        return is_watched and self.limit_bytes is not None and self.held_bytes > self.limit_bytes

    def ground_limit_bytes(self, limit_bytes: int) -> int:
        """What its directory may hold of that: what its layers leave over, and never less than is there."""
        if self.layer_bytes < _MIB:
            return limit_bytes
        left = (limit_bytes - self.layer_bytes) // GRAIN_BYTES * GRAIN_BYTES
        return min(limit_bytes, max(left, self.here_bytes))

    def measured(self, here_bytes: int, layer_bytes: int) -> None:
        self.here_bytes, self.layer_bytes = here_bytes, layer_bytes
        if self.held_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_layer_bytes = self.held_bytes, layer_bytes
        if self.limit_bytes is not None and self.held_bytes >= self.limit_bytes * _AT_LIMIT:
            self.met_at_s = boot_s()

    def outcome(self) -> Outcome:
        met = boot_s() - self.met_at_s <= _LATELY_S
        return Outcome(
            self.peak_bytes, self.limit_bytes, bool(self.promise_bytes), met, self.was_ended, self.peak_layer_bytes, self.crowded
        )


def amount(count: int) -> str:
    """So many bytes, for people."""
    mib = count / _MIB
    number, unit = (mib / 1024, "GiB") if mib >= 1024 else (mib, "MiB")
    return f"{number:.{0 if number >= 100 else 1}f}".removesuffix(".0") + f" {unit}"
