"""Cages of cgroup version 2: a fresh group per attempt, since most kernels cannot set peaks and counts back.

There are two ways into a group, and which is cheaper depends on how often it is done. Stepping in, spawning and stepping out, as with
version 1, makes the kernel wait for all processors (some milliseconds in which we do nothing else), but not again while it is done
again and again. Having the kernel put a forked child into the group (clone3) never waits, but a fork costs several times the
processor time of a spawn. So the first start after a pause forks and those that follow it closely spawn.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import time
from pathlib import Path
from resource import struct_rusage

from batchyard.compute.local import knobs, spawn
from batchyard.compute.local.cage import USUAL, Limits, Usage, counted, storage_mib
from batchyard.compute.local.cgroup1 import SHARES_PER_VCPU, Stranded, kill_all, quota_us
from batchyard.compute.local.knobs import Knob, number_after, read, write
from batchyard.compute.local.spawn import CannotStart, Order
from batchyard.model.capacity import Resources

CONTROLLERS = ("memory", "cpu", "pids")
_MIB = 1024 * 1024
_CLONE3 = 435  # the same number on every processor that Linux was brought to before 2019
_CLONE_INTO_CGROUP = 0x200000000
_SIGCHLD = 17
_BURST_S = 0.02  # starts that follow each other more closely than this are a burst
_HERE = b"0"


class Tree2:
    """See `cage.Tree`. Our part of the hierarchy: `parent`/`name`, with one group per running attempt in it."""

    outlives_us = True

    def __init__(self, parent: Path, name: str, limits: Limits = USUAL) -> None:
        """OSError if it may not be made. Controllers that `parent` does not hand down are not used."""
        self.limits = limits
        self.place = parent / name
        self._origin = knobs.own_place2() or parent
        self.place.mkdir(exist_ok=True)
        for controller in CONTROLLERS:
            write(parent / "cgroup.subtree_control", f"+{controller}")
            write(self.place / "cgroup.subtree_control", f"+{controller}")
        (self.place / "home").mkdir(exist_ok=True)
        self._home = Knob(f"{self.place}/home/cgroup.procs", os.O_WRONLY)
        self.come_home()
        self.controllers = tuple(c for c in CONTROLLERS if c in read(self.place / "cgroup.subtree_control").split())
        self._stale: list[Path] = []
        self._started_s = 0.0

    def come_home(self) -> None:
        """Move where we belong. Stranded if that fails: we must never stay in a job's group."""
        try:
            self._home.write(_HERE)
        except OSError as error:
            raise Stranded(f"cannot leave a job's cgroup: {error}") from error

    def in_a_burst(self) -> bool:
        """Whether the last start was only a moment ago; to be asked once per start."""
        last_s, self._started_s = self._started_s, time.monotonic()
        return self._started_s - last_s < _BURST_S

    @property
    def freezer(self) -> str:
        return str(self.place)

    def cage(self, number: int) -> Cage2:
        return Cage2(self, str(number))

    def end_orphans(self) -> int:
        left = 0
        for group in self.place.iterdir():
            if group.is_dir() and group.name != "home":
                if not empty(group):
                    left += 1
                    kill(group)
                remove_below(group)
        return left

    def remove(self) -> None:
        for place in (self._origin, self.place.parent):
            if write(place / "cgroup.procs", "0"):
                break
        remove_below(self.place)

    def discard(self, group: Path) -> None:
        """Remove a group, now or when it can be."""
        if not remove_below(group):
            self._stale.append(group)

    def tick(self) -> None:
        stale, self._stale = self._stale, []
        for group in stale:
            self.discard(group)


class Cage2:
    """See `cage.Cage`. The group of one attempt after the other."""

    def __init__(self, tree: Tree2, name: str) -> None:
        self._tree = tree
        self._name = name
        self._made = 0
        self.group: Path | None = None

    @property
    def cpu_before_ns(self) -> int:
        return 0  # its group is its own

    def start(self, order: Order, needs: Resources) -> int:
        try:
            group = self.group = self._new_group()
            self._set("cpu", "cpu.weight", weight(needs.vcpus))
            self._set("memory", "memory.swap.max", 0)
            if self._tree.limits.pids:
                self._set("pids", "pids.max", self._tree.limits.pids)
            if "pids" not in self._tree.controllers:
                order = counted(order, self._tree.limits)
            if spawn.can_borrow(order) and self._tree.in_a_burst():
                pid = self._stepping_in(order, group)
                # Only now: while we are in there, the job's limit would be ours, and so would its end.
                self._set_limits(needs)
                return pid
            self._set_limits(needs)
            return _forked_into(order, group)
        except OSError as error:
            raise CannotStart(f"CannotStartContainerError: cgroup: {error.strerror} ({error.filename})") from error

    def _stepping_in(self, order: Order, group: Path) -> int:
        try:
            (group / "cgroup.procs").write_bytes(_HERE)
            return spawn.start(order)
        finally:
            self._tree.come_home()

    def _set_limits(self, needs: Resources) -> None:
        self._set("memory", "memory.max", needs.memory_mib * _MIB)
        if self._tree.limits.hard_cpus:
            self._set("cpu", "cpu.max", quota_us(needs.vcpus))  # of the usual period

    def _set(self, controller: str, file: str, value: int) -> None:
        assert self.group is not None
        if controller in self._tree.controllers:
            path = self.group / file
            if file == "memory.max":
                path.write_text(str(value))
            else:
                write(path, str(value))  # swap may not be accounted for, and shares are only shares

    def _new_group(self) -> Path:
        while True:
            self._made += 1
            group = self._tree.place / f"{self._name}.{self._made}"
            try:
                group.mkdir()
            except FileExistsError:
                continue  # an earlier node's, with somebody in it who cannot be killed
            return group

    def gates(self) -> tuple[str, ...]:
        return (f"{self.group}/cgroup.procs",)

    def group_id(self) -> int:
        return knobs.group_id(self.group) if self.group else 0

    def members(self) -> list[int]:
        return knobs.members(self.group) if self.group else []

    def end_all(self) -> bool:
        if self.group is None or empty(self.group):
            return True
        kill(self.group)
        return False

    def usage(self, waited: struct_rusage) -> Usage:
        if self.group is None:
            return Usage(None, None, False)
        peak = read(self.group / "memory.peak").strip()  # since Linux 5.19
        used_us = number_after(b"usage_usec", read(self.group / "cpu.stat").encode())
        oom_kills = number_after(b"oom_kill", read(self.group / "memory.events").encode())
        cpu_s = used_us / 1e6 if used_us else waited.ru_utime + waited.ru_stime
        return Usage(int(peak) / _MIB if peak else None, cpu_s, oom_kills > 0, *storage_mib(waited))

    def release(self) -> None:
        if self.group is not None:
            self._tree.discard(self.group)
            self.group = None


def weight(vcpus: float) -> int:
    """cpu.weight (1..10000) for so many vCPUs, in the proportion that container runtimes use for version 1's shares."""
    shares = min(262144, max(2, round(SHARES_PER_VCPU * vcpus)))
    return 1 + (shares - 2) * 9999 // 262142


def empty(group: Path) -> bool:
    """Whether no process lives in a group or below it."""
    return "populated 1" not in read(group / "cgroup.events")


def kill(group: Path) -> None:
    """SIGKILL to all in a group and below it."""
    if not write(group / "cgroup.kill", "1"):  # since Linux 5.14
        write(group / "cgroup.freeze", "1")
        for place in with_below(group):
            kill_all(place / "cgroup.procs")
        write(group / "cgroup.freeze", "0")


def with_below(group: Path) -> list[Path]:
    """A group and those below it that are there; any may go meanwhile."""
    return [Path(place) for place, _, _ in os.walk(group)]


def remove_below(group: Path) -> bool:
    """Remove a group and those below it; False if somebody lives there still."""
    for last in (False, True):
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if not last:
                for below in reversed(with_below(group)[1:]):
                    remove_below(below)
        else:
            return True
    return False


def _forked_into(order: Order, group: Path) -> int:
    """Start a program inside a group by a fork, from its first moment on."""
    global _clone_into_works
    if _clone_into_works:
        descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return spawn.forking(order, fork=lambda: clone_into(descriptor))
        except NotImplementedError:
            _clone_into_works = False
        finally:
            os.close(descriptor)
    return spawn.forking(order, enter=lambda: (group / "cgroup.procs").write_bytes(_HERE))


_clone_into_works = sys.platform.startswith("linux") and platform.machine() in ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64")


def clone_into(descriptor: int) -> int:
    """Fork into the cgroup that is open as `descriptor`: 0 in the child. NotImplementedError where the kernel cannot (before 5.7)."""
    arguments = struct.pack("=11Q", _CLONE_INTO_CGROUP, 0, 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, descriptor)
    # PyDLL keeps the interpreter's lock across the call, so that the child wakes up holding it.
    pid: int = _library().syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_size_t(len(arguments)))
    if pid < 0:
        number = ctypes.get_errno()
        if number in (38, 22, 7, 1):  # ENOSYS, EINVAL, E2BIG, EPERM: a kernel that knows less, or a container that forbids it
            raise NotImplementedError("clone3 into a cgroup")
        raise OSError(number, os.strerror(number))
    return pid


def _library() -> ctypes.PyDLL:
    global _loaded
    if _loaded is None:
        _loaded = ctypes.PyDLL(None, use_errno=True)
        _loaded.syscall.restype = ctypes.c_long
    return _loaded


_loaded: ctypes.PyDLL | None = None
