"""What holds an attempt's processes together: started in, counted, limited and ended as one. A cage belongs to a slot and is used again."""

from __future__ import annotations

from resource import struct_rusage
from typing import NamedTuple, Protocol

from batchyard.compute.local.spawn import Order
from batchyard.model.capacity import Resources


class Usage(NamedTuple):
    """What an attempt used. None where this cage cannot tell."""

    peak_memory_mib: float | None
    cpu_s: float | None
    oom: bool
    read_mib: float | None = None  # from block devices and written to them; what the page cache answered is not among it
    written_mib: float | None = None


class Cage(Protocol):
    """Holds one attempt at a time: start, then end_all until nobody is left, then usage, then release."""

    def start(self, order: Order, needs: Resources) -> int:
        """Start the program inside, with the limits in force, and return its process id. CannotStart with the reason."""
        ...

    def end_all(self) -> bool:
        """SIGKILL to everybody inside; True when nobody was left any more."""
        ...

    def usage(self, waited: struct_rusage) -> Usage:
        """What the attempt used, once all of it has ended; `waited` is what its first process and those that it waited for used."""
        ...

    def release(self) -> None:
        """Make ready for the next attempt."""
        ...


class Tree(Protocol):
    """The cages of a node. `outlives_us`: a later node finds in them whoever we leave behind."""

    outlives_us: bool

    def cage(self, number: int) -> Cage:
        """The cage of a slot."""
        ...

    def end_orphans(self) -> int:
        """Kill whoever lives in cages that an earlier node left behind; how many are still there."""
        ...

    def remove(self) -> None:
        """Take away all that was made, as far as it is empty."""
        ...

    def tick(self) -> None:
        """Called four times a second while attempts run, for cages that have to look for themselves."""
        ...
