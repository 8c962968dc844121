"""Who is asking at an address that all of the machine can reach: the attempt whose process holds the other end of the connection.

The kernel says which socket that is and whose (`netlink.held`). With cgroups of version 2 it also says in which of them it was made, and
that is the answer. Else the attempt is the one in whose cgroup a process has it open. A container with an address of its own is known by
that. Nothing is remembered from one connection to the next, and a job that makes the search long, by many processes with many open files,
uses up its own allowance: nobody finds it for a while.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import cast

from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.doors import netlink
from batchyard.compute.local.doors.listener import Request
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.runner import Single
from batchyard.compute.local.task import TaskRun
from batchyard.compute.local.tasks import pause

LOOKS_MOST = 20_000  # of what is looked at in an attempt's processes, so much at once
LOOKS_PER_SECOND = 5_000
_NAMES_PER_LOOK = 8  # so many open files are listed in the time in which one is looked at
_SETTLED_S = 5.0  # how long a container that has just started is waited for: it may ask before its daemon has told us of it
_AGAIN_S = 0.05


class Callers:
    """Finds out who asks."""

    def __init__(self, loop: Loop, attempts: Callable[[], Iterable[Attempt]]) -> None:
        """`attempts`: all that the node has."""
        self._loop, self._attempts = loop, attempts
        self._allowances: dict[str, tuple[float, float]] = {}  # by attempt: looks that it has left, and when that was so

    def forget(self, attempt: str) -> None:
        """The attempt is over."""
        self._allowances.pop(attempt, None)

    async def attempt_of(self, request: Request) -> Attempt | None:
        """Whose question it is; None if it is not a job's, or nobody can tell."""
        held = netlink.held(request.peer, request.own)
        asked = [(attempt, run) for attempt in self._attempts() for run in _runs(attempt)]
        if held and held.group:
            found = next((attempt for attempt, run in asked if run.group_id() == held.group), None)
            if found:
                return found
        if held and any(run.uid == held.uid for _, run in asked):
            asked = [(attempt, run) for attempt, run in asked if run.uid == held.uid]
        until_s = boot_s() + _SETTLED_S
        while asked:
            unsettled = []
            for attempt, run in asked:
                is_caller = self._is_caller(attempt, run, held, request.peer[0])
                if is_caller:
                    return attempt
                if is_caller is None:
                    unsettled.append((attempt, run))
            if boot_s() > until_s:
                break
            asked = unsettled
            if asked:
                await pause(self._loop, _AGAIN_S)
        return None

    def _is_caller(self, attempt: Attempt, run: Single, held: netlink.Held | None, address: str) -> bool | None:
        """Whether a container of the attempt has the other end: a socket of this network, or an address of its own. None: not known yet."""
        if held is None:
            addresses = run.addresses()
            return None if addresses is None else address in addresses
        name = attempt.launch.attempt
        left = self._allowance(name)
        if run.uid not in (None, held.uid) or left <= 0:
            return False
        pids = run.pids()
        if pids is None:
            return None
        found, spent = _search(pids, held.inode, left)
        if spent:
            self._allowances[name] = left - spent, boot_s()
        return found

    def _allowance(self, attempt: str) -> float:
        left, at_s = self._allowances.get(attempt, (LOOKS_MOST, 0.0))
        return min(LOOKS_MOST, left + (boot_s() - at_s) * LOOKS_PER_SECOND)


def _runs(attempt: Attempt) -> Iterator[Single]:
    """Its containers that were handed to a runner."""
    run = attempt.run
    if isinstance(run, TaskRun):
        yield from (cast(Single, one.run) for one in run.members())
    elif run is not None:
        yield cast(Single, run)


def _search(pids: Collection[int], inode: int, most: float) -> tuple[bool, float]:
    """Whether one of the processes has the socket open, and what it cost to find out. Who asks is mostly the youngest of them, and the
    socket among the last that it opened."""
    wanted, spent = f"socket:[{inode}]", len(pids) / _NAMES_PER_LOOK
    for pid in sorted(pids, reverse=True):
        place = f"/proc/{pid}/fd"
        try:
            names = os.listdir(place)  # noqa: PTH208 - names are all that is wanted, of many
        except OSError:  # it has ended
            names = []
        spent += 1 + len(names) / _NAMES_PER_LOOK
        for name in reversed(names):
            spent += 1
            try:
                if os.readlink(f"{place}/{name}") == wanted:  # noqa: PTH115 - strings all the way
                    return True, spent
            except OSError:  # closed
                pass
            if spent > most:
                return False, spent
        if spent > most:
            return False, spent
    return False, spent
