"""Cages of cgroup version 1: one group per slot in every hierarchy, made once and used again and again.

To start a job inside, the node's own thread steps into the slot's groups, spawns, and steps out (writing "0" to `tasks` moves only
the writer, in microseconds). The memory limit is set after it is out again: a job with a tiny limit could otherwise run out of
memory while the kernel still counts the node among the ones to kill.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from resource import struct_rusage

from batchyard.compute.local import knobs, spawn
from batchyard.compute.local.cage import USUAL, Limits, Usage, counted, storage_mib
from batchyard.compute.local.knobs import Knob, number_after, write
from batchyard.compute.local.node_log import say
from batchyard.compute.local.spawn import Order
from batchyard.model.capacity import Resources

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer")
SHARES_PER_VCPU = 1024
PERIOD_US = 100_000
_MIB = 1024 * 1024
_KEPT_BYTES_MOST = _MIB  # what a slot's memory group may still be charged for (page cache) and be used again
_HERE = b"0"


class Stranded(RuntimeError):
    """The node cannot get out of a job's group: it has to die rather than be limited and killed like that job."""


class Tree1:
    """See `cage.Tree`. Our part of every hierarchy: `name`/home for the node itself and `name`/N for the slots."""

    outlives_us = True

    def __init__(self, parents: dict[str, Path], name: str, limits: Limits = USUAL) -> None:
        """`parents`: the directory to make our part in, by controller; "memory" has to be among them. OSError if it may not be made."""
        self.limits = limits
        self.places = {controller: parent / name for controller, parent in parents.items()}
        for place in self.places.values():
            (place / "home").mkdir(parents=True, exist_ok=True)
        self._parents = parents
        self._stale: list[Path] = []
        self._home = [Knob(f"{place}/home/tasks", os.O_WRONLY) for place in sorted(set(self.places.values()))]
        self.come_home()

    def come_home(self) -> None:
        """Move our thread where it belongs. Stranded if that fails: it must never stay in a job's group."""
        try:
            for knob in self._home:
                knob.write(_HERE)
        except OSError as error:
            raise Stranded(f"cannot leave a job's cgroup: {error}") from error

    @property
    def freezer(self) -> str:
        place = self.places.get("freezer")
        return str(place) if place else ""

    def cage(self, number: int) -> Cage1:
        return Cage1(self, str(number))

    def end_orphans(self) -> int:
        left = 0
        for place in self.places.values():
            for group in place.iterdir():
                if group.is_dir() and group.name != "home":
                    write(group / "pids.max", "0")
                    write(group / "freezer.state", "THAWED")  # else nobody dies in there
                    left += kill_all(group / "cgroup.procs")
                    with contextlib.suppress(OSError):
                        group.rmdir()
        return left

    def remove(self) -> None:
        for controller, parent in self._parents.items():
            write(parent / "cgroup.procs", "0")  # all of our threads
            place = self.places[controller]
            groups = [group for group in place.iterdir() if group.is_dir()] if place.is_dir() else []
            for group in (*groups, place):
                with contextlib.suppress(OSError):
                    group.rmdir()

    def discard(self, group: Path) -> None:
        """Remove a group, now or when it can be."""
        try:
            group.rmdir()
        except OSError:
            self._stale.append(group)

    def tick(self) -> None:
        stale, self._stale = self._stale, []
        for group in stale:
            self.discard(group)


class Cage1:
    """See `cage.Cage`. The groups of one slot."""

    def __init__(self, tree: Tree1, name: str) -> None:
        self._tree = tree
        self._name = name
        self._shares = SHARES_PER_VCPU
        self._forks_stopped = False
        self._over_limit = False
        self._cpu_ns = 0
        self._memory_path = tree.places["memory"] / name
        self._memory_made = 0
        for place in tree.places.values():
            (place / name).mkdir(exist_ok=True)
        others = sorted(set(tree.places.values()) - {tree.places["memory"]})  # cpu and cpuacct are often one
        self._enter = [Knob(f"{place}/{name}/tasks", os.O_WRONLY) for place in others]
        members = tree.places.get("pids", tree.places["memory"])
        self._members = members / name / "cgroup.procs"
        self._count = self._other("pids", "pids.current", os.O_RDONLY)
        self._cpu_used = self._other("cpuacct", "cpuacct.usage", os.O_RDONLY)
        self._cpu_shares = self._other("cpu", "cpu.shares", os.O_WRONLY)
        self._forks = self._other("pids", "pids.max", os.O_WRONLY)
        self._forks_most = b"%d" % tree.limits.pids if tree.limits.pids else b"max"
        self._quota = self._other("cpu", "cpu.cfs_quota_us", os.O_WRONLY) if tree.limits.hard_cpus else None
        # They may be left from a node that died.
        if self._forks:
            self._forks.write(self._forks_most)
        if self._cpu_shares:
            self._cpu_shares.write(b"%d" % self._shares)
        if self._cpu_used:
            self._cpu_ns = int(self._cpu_used.read())
        self._open_memory()

    @property
    def cpu_before_ns(self) -> int:
        return self._cpu_ns

    def _other(self, controller: str, file: str, flags: int) -> Knob | None:
        place = self._tree.places.get(controller)
        return Knob(f"{place}/{self._name}/{file}", flags) if place else None

    def _open_memory(self) -> None:
        path = str(self._memory_path)
        self._memory_enter = Knob(f"{path}/tasks", os.O_WRONLY)
        self._limit = Knob(f"{path}/memory.limit_in_bytes", os.O_WRONLY)
        self._peak = Knob(f"{path}/memory.max_usage_in_bytes", os.O_RDWR)
        self._used = Knob(f"{path}/memory.usage_in_bytes", os.O_RDONLY)
        self._oom_control = Knob(f"{path}/memory.oom_control", os.O_RDONLY)
        self._swap_limit: Knob | None = None
        try:
            self._swap_limit = Knob(f"{path}/memory.memsw.limit_in_bytes", os.O_WRONLY)
        except FileNotFoundError:
            write(self._memory_path / "memory.swappiness", "0")  # without swap accounting: at least do not ask for it
        self._raise_limit()
        self._oom_kills = number_after(b"oom_kill", self._oom_control.read())
        self._peak.write(b"0")

    def start(self, order: Order, needs: Resources) -> int:
        shares = max(2, round(SHARES_PER_VCPU * needs.vcpus))
        if self._cpu_shares and shares != self._shares:
            self._cpu_shares.write(b"%d" % shares)
            self._shares = shares
        try:
            self._memory_enter.write(_HERE)
            for knob in self._enter:
                knob.write(_HERE)
            pid = spawn.start(order if self._forks else counted(order, self._tree.limits))
        finally:
            self._tree.come_home()
        self._set_limit(b"%d" % (needs.memory_mib * _MIB))
        if self._quota:  # only now, or we would be made to wait for the job's next turn
            self._quota.write(b"%d" % quota_us(needs.vcpus))
        return pid

    def gates(self) -> tuple[str, ...]:
        others = sorted(set(self._tree.places.values()) - {self._tree.places["memory"]})
        return tuple(f"{place}/cgroup.procs" for place in (self._memory_path, *(place / self._name for place in others)))

    def group_id(self) -> int:
        return 0

    def members(self) -> list[int]:
        return knobs.members(self._members.parent)

    def _set_limit(self, limit: bytes) -> None:
        try:
            self._limit.write(limit)
            if self._swap_limit:
                self._swap_limit.write(limit)
        except OSError:
            # It holds more already, in the moment it has lived, and the kernel cannot take that back.
            self._over_limit = True
            self.end_all()

    def _raise_limit(self) -> None:
        if self._swap_limit:
            self._swap_limit.write(b"-1")
        self._limit.write(b"-1")

    def end_all(self) -> bool:
        if self._count and not int(self._count.read()):
            return True
        # Opened anew each time: a list that is kept open may be a second old.
        if not kill_all(self._members):
            return True
        if self._forks and not self._forks_stopped:
            self._forks.write(b"0")  # so that nobody forks faster than we kill
            self._forks_stopped = True
        return False

    def usage(self, waited: struct_rusage) -> Usage:
        peak_bytes = int(self._peak.read())
        oom_kills = number_after(b"oom_kill", self._oom_control.read())
        oom = self._over_limit or oom_kills > self._oom_kills
        self._oom_kills = oom_kills
        cpu_s = waited.ru_utime + waited.ru_stime
        if self._cpu_used:
            cpu_ns = int(self._cpu_used.read())
            cpu_s = (cpu_ns - self._cpu_ns) / 1e9
            self._cpu_ns = cpu_ns
        return Usage(peak_bytes / _MIB, cpu_s, oom, *storage_mib(waited))

    def release(self) -> None:
        if self._forks and self._forks_stopped:
            self._forks.write(self._forks_most)
            self._forks_stopped = False
        if self._quota:
            self._quota.write(b"-1")
        self._over_limit = False
        if int(self._used.read()) > _KEPT_BYTES_MOST:
            self._renew_memory()
        else:
            self._raise_limit()
            self._peak.write(b"0")

    def _renew_memory(self) -> None:
        """A new memory group: the old one is charged for files that the job left in the page cache, which would count for the next."""
        for knob in (self._memory_enter, self._limit, self._peak, self._used, self._oom_control, self._swap_limit):
            if knob:
                knob.close()
        old = self._memory_path
        self._memory_made += 1
        self._memory_path = self._tree.places["memory"] / f"{self._name}.{self._memory_made}"
        self._memory_path.mkdir(exist_ok=True)
        self._open_memory()
        self._tree.discard(old)


def quota_us(vcpus: float) -> int:
    """How much of every tenth of a second so many vCPUs are: the kernel's own period, and not below what it takes."""
    return max(1000, round(PERIOD_US * vcpus))


def kill_all(members: Path) -> int:
    """SIGKILL to all in a list of processes; how many there were."""
    try:
        pids = [int(pid) for pid in members.read_text().split()]
    except FileNotFoundError:
        return 0
    except OSError as error:
        say(f"cannot read {members}: {error}")
        return 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)
