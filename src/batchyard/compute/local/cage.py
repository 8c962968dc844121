"""What holds an attempt's processes together: started in, counted, limited and ended as one. A cage belongs to a slot and is used again."""

from __future__ import annotations

import os
import sys
from resource import struct_rusage
from typing import NamedTuple, Protocol

from batchyard.compute.local import proc
from batchyard.compute.local.spawn import Order
from batchyard.model.capacity import Resources

_BLOCK_BYTES = 512  # Linux counts what was read and written in these
_BLOCKS_PER_MIB = 2048
_MAXRSS = 2  # its place in a struct_rusage


class Limits(NamedTuple):
    """What the operator of a node decides for every job."""

    pids: int = 4096  # processes and threads of a job; 0: as many as the machine bears
    hard_cpus: bool = False  # no job gets more vCPUs than it asks for
    log_mib: int = 1024  # what the log of an attempt may take; 0: as much as there is room for


USUAL = Limits()


class Usage(NamedTuple):
    """What an attempt used. None where this cage cannot tell.

    `read_mib` is what storage was asked for: what the page cache answered is not among it. `written_mib` is what was given to files of
    storage, counted when it is written into the page cache: the kernel may carry it to the device after the job's end, or never if the
    file is removed before. Memory file systems (tmpfs), pipes and sockets are neither. Both are the kernel's own counts by process,
    those of /proc/PID/io, which mean the same whatever the version of cgroups and however many devices lie upon one another.
    """

    peak_memory_mib: float | None
    cpu_s: float | None
    oom: bool
    read_mib: float | None = None
    written_mib: float | None = None


def storage_mib(waited: struct_rusage) -> tuple[float | None, float | None]:
    """What ended processes had read from storage and written to it (see `Usage`); None, None where the kernel counts otherwise."""
    if not sys.platform.startswith("linux"):  # macOS counts operations of any size
        return None, None
    return waited.ru_inblock / _BLOCKS_PER_MIB, waited.ru_oublock / _BLOCKS_PER_MIB


def together(one: struct_rusage, other: struct_rusage) -> struct_rusage:
    """What two processes used, as if one had waited for the other; the peak is the larger one's."""
    added = [mine + others for mine, others in zip(one, other, strict=True)]
    added[_MAXRSS] = max(one.ru_maxrss, other.ru_maxrss)
    return struct_rusage(added)


def of_storage(read_bytes: int, written_bytes: int) -> struct_rusage:
    """As if a process had been waited for that did nothing else."""
    return struct_rusage([0.0, 0.0, *[0] * 7, read_bytes // _BLOCK_BYTES, written_bytes // _BLOCK_BYTES, *[0] * 5])


class Cage(Protocol):
    """Holds one attempt at a time: start, then end_all until nobody is left, then usage, then release."""

    @property
    def cpu_before_ns(self) -> int:
        """The CPU time that the kernel's counter showed when the last attempt was over."""
        ...

    def start(self, order: Order, needs: Resources) -> int:
        """Start the program inside, with the limits in force, and return its process id. CannotStart with the reason."""
        ...

    def gates(self) -> tuple[str, ...]:
        """The files that a process writes "0" to, to be held together with the attempt that is inside."""
        ...

    def members(self) -> list[int]:
        """The processes of the attempt that is inside; [] if the kernel does not keep count of them."""
        ...

    def group_id(self) -> int:
        """The id of the cgroup of version 2 that the attempt inside has to itself; 0 if it has none."""
        ...

    def end_all(self) -> bool:
        """SIGKILL to everybody inside; True when nobody was left any more."""
        ...

    def usage(self, waited: struct_rusage) -> Usage:
        """What the attempt used, once all of it has ended; `waited` is what was waited for of it: its first process, whom that one
        waited for, and whom it left behind."""
        ...

    def release(self) -> None:
        """Make ready for the next attempt."""
        ...


class Tree(Protocol):
    """The cages of a node. `outlives_us`: a later node finds in them whoever we leave behind."""

    outlives_us: bool

    @property
    def freezer(self) -> str:
        """The cgroup below which those of attempts lie, with a freezer, beside `home` where the node is; "" if there is none."""
        ...

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


def counted(order: Order, limits: Limits) -> Order:
    """The order, with a limit on processes by user: for where no cgroup counts them."""
    if not limits.pids:
        return order
    of_others = 0
    if order.identity is None and not order.inside:  # all that our own user runs counts
        of_others = sum(proc.threads(seen.pid) for seen in proc.processes() if proc.owner(seen.pid) == os.getuid())
    return order._replace(processes=limits.pids + of_others)
