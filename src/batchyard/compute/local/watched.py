"""Cages without cgroups: memory is looked at four times a second, and whoever left the process group is found by its user or its marker.

A job can outrun this (allocate fast; without a user of its own, drop its environment): it is for machines where nothing better is
allowed, and `host.facts` says so.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys

from batchyard.compute.local import proc, spawn
from batchyard.compute.local.cage import USUAL, Limits, Usage, counted, storage_mib
from batchyard.compute.local.spawn import Order
from batchyard.model.capacity import Resources

MARKER = "BATCHYARD_ATTEMPT"
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
_MIB = 1024 * 1024


class WatchedTree:
    """See `cage.Tree`. All cages of a node without cgroups."""

    outlives_us = False
    freezer = ""

    def __init__(self, limits: Limits = USUAL) -> None:
        self._limits = limits
        self._cages: dict[int, WatchedCage] = {}

    def cage(self, number: int) -> WatchedCage:
        return self._cages.setdefault(number, WatchedCage(self._limits))

    def end_orphans(self) -> int:
        return 0  # there is nothing that outlives us here: the journal and the markers tell who is left

    def remove(self) -> None:
        self._cages.clear()

    def tick(self) -> None:
        """Measure every attempt; kill those above their limit."""
        running = {cage.pid: cage for cage in self._cages.values() if cage.pid}
        if not running:
            return
        leaders = {**{cage.heir: pid for pid, cage in running.items() if cage.heir}, **{pid: pid for pid in running}}
        seen = {process.pid: process for process in proc.processes()}
        members: dict[int, list[proc.Seen]] = {pid: [] for pid in running}
        for process in seen.values():
            leader = _leader(process, leaders, seen)
            if leader:
                members[leader].append(process)
        for pid, cage in running.items():
            cage.measure(members[pid])


def _leader(process: proc.Seen, leaders: dict[int, int], seen: dict[int, proc.Seen]) -> int:
    """The attempt's first process, found by session, group or ancestry; 0 if it is none of ours."""
    for _ in range(64):
        for number in (process.session, process.group, process.pid):
            if number in leaders:
                return leaders[number]
        above = seen.get(process.parent)
        if above is None:
            return 0
        process = above
    return 0


class WatchedCage:
    """See `cage.Cage`. One attempt: its session, its process group, and what it left to us as orphans."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self._limits = limits
        self.pid = 0
        self.heir = 0  # to whom its orphans are given where it has processes of its own
        self._marker = b""
        self._uid: int | None = None  # that nobody else has
        self._limit_bytes = 0
        self._peak_bytes = 0
        self._oom = False

    @property
    def cpu_before_ns(self) -> int:
        return 0

    def start(self, order: Order, needs: Resources) -> int:
        self._limit_bytes = needs.memory_mib * _MIB
        self._marker = order.environment.get(MARKER, "").encode()
        self._uid = order.identity.uid if order.identity and not order.identity.shared else None
        self._peak_bytes, self._oom = 0, False
        self.heir = order.inside.first_pid if order.inside else 0
        self.pid = spawn.start(counted(order, self._limits))
        return self.pid

    def gates(self) -> tuple[str, ...]:
        return ()  # whoever has the job's environment is found by its marker

    def group_id(self) -> int:
        return 0

    def members(self) -> list[int]:
        return []  # by environment and ancestry only, which a job can change

    def measure(self, members: list[proc.Seen]) -> None:
        """Compare what the members hold with the limit: resident pages, and where that is too much, only their share of common ones."""
        used = sum(member.rss_kib for member in members) * 1024
        if used > self._limit_bytes:
            used = sum(_share_bytes(member) for member in members)
        self._peak_bytes = max(self._peak_bytes, used)
        if used > self._limit_bytes and self.pid:
            self._oom = True
            for member in members:
                with contextlib.suppress(OSError):
                    os.kill(member.pid, signal.SIGKILL)

    def end_all(self) -> bool:
        left = False
        if self.pid:
            # Only a look: the supervisor has killed the group while the number could not yet name another one.
            try:
                os.killpg(self.pid, 0)
                left = True
            except ProcessLookupError:
                pass
            except PermissionError:
                left = sys.platform != "darwin"  # macOS answers so when only ended processes are left
        for pid in _children():
            seen = proc.process(pid)
            if seen is None or seen.state == "Z" or pid == self.pid:
                continue
            if seen.session == self.pid or self._is_ours(pid):
                left = True
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        return not left

    def _is_ours(self, pid: int) -> bool:
        """Whether one that left our session is known by its user, who is nobody else's, or by the marker, which it may have dropped."""
        if self._uid is not None:
            return proc.owner(pid) == self._uid
        return bool(self._marker) and proc.environment(pid).get(MARKER.encode()) == self._marker

    def usage(self, waited: resource.struct_rusage) -> Usage:
        peak_bytes = self._peak_bytes
        # Until its exec, a child counts the pages that it shares with us: a figure below our own says nothing.
        if waited.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            peak_bytes = max(peak_bytes, waited.ru_maxrss * _MAXRSS_BYTES)
        cpu_s = waited.ru_utime + waited.ru_stime
        return Usage(peak_bytes / _MIB if peak_bytes else None, cpu_s, self._oom, *storage_mib(waited))

    def release(self) -> None:
        self.pid = 0


def _children() -> list[int]:
    """Our children; as the reaper of our descendants we inherit those whose parents are gone."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _share_bytes(member: proc.Seen) -> int:
    try:
        with open(f"/proc/{member.pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return member.rss_kib * 1024
