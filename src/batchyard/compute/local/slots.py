"""Slots: what an attempt is lent while it runs, a user id of its own and a cage, used again by the next one.

User ids come from a range that no distribution hands out (60706-61183; see docs/decisions/0003-how-jobs-are-spawned.md). Several
nodes may live on one machine, so each id is claimed by a lock that the kernel takes back when its node dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchyard.compute.local import proc
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.cage import Cage, Tree
from batchyard.compute.local.quarters import Quarters

if TYPE_CHECKING:
    from batchyard.compute.local.bubbles import Bubble

CLAIMS = Path("/run" if Path("/run").is_dir() else "/var/run") / "batchyard"


class Slot:
    """A cage, directories and, as root, a user id that nobody else has."""

    __slots__ = ("bubble", "cage", "gpus", "number", "quarters", "uid")

    def __init__(self, number: int, uid: int | None, cage: Cage, quarters: Quarters) -> None:
        self.number = number
        self.uid = uid
        self.cage = cage
        self.quarters = quarters
        self.gpus: tuple[int, ...] = ()
        self.bubble: Bubble | None = None  # namespaces, where it has some


class Gpus:
    """The GPUs that jobs may have; each is lent to one of them at a time."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._free = sorted(numbers)

    def take(self, count: int) -> tuple[int, ...] | None:
        """So many of them by number, or None if fewer are free."""
        if count > len(self._free):
            return None
        taken = tuple(self._free[:count])
        del self._free[:count]
        return taken

    def give_back(self, numbers: tuple[int, ...]) -> None:
        """They may be lent again."""
        self._free = sorted((*self._free, *numbers))


class Slots:
    """Lends slots; the one given back last goes out first, so that few of them are ever made."""

    def __init__(self, tree: Tree, uids: range | None, work: str, gpus: Iterable[int] = (), allotments: Allotments | None = None) -> None:
        self.gpus = Gpus(gpus)
        self._work = work
        self.allotments = allotments or Allotments()
        self._tree = tree
        self._untried = deque(uids) if uids is not None else None
        self._free: list[Slot] = []
        self._all: list[Slot] = []
        self._made = 0
        self._claims: list[int] = []

    def take(self) -> Slot | None:
        """A slot, or None if all user ids are taken: then it has to wait for one that is given back."""
        if self._free:
            return self._free.pop()
        uid = None
        if self._untried is not None:
            uid = self._claimed()
            if uid is None:
                return None
        slot = Slot(self._made, uid, self._tree.cage(self._made), Quarters(self._work, self._made, self.allotments))
        self._made += 1
        self._all.append(slot)
        return slot

    @property
    def idle(self) -> Sequence[Slot]:
        """Those that nobody has."""
        return self._free

    @property
    def bubbles(self) -> list[Bubble]:
        """The namespaces that slots have."""
        return [slot.bubble for slot in self._all if slot.bubble]

    def equip(self, slot: Slot, count: int) -> bool:
        """Lend the slot so many GPUs, which no other attempt has; False if there are not as many."""
        taken = self.gpus.take(count)
        if taken is None:
            return False
        slot.gpus = taken
        return True

    def give_back(self, slot: Slot) -> None:
        """The slot's attempt is over and nobody is left in its cage."""
        self.gpus.give_back(slot.gpus)
        slot.gpus = ()
        self._free.append(slot)

    def _claimed(self) -> int | None:
        assert self._untried is not None
        for _ in range(len(self._untried)):
            uid = self._untried.popleft()
            held = claim(f"uid-{uid}")
            if held is not None:
                if not in_use(uid):  # it would be by an orphan of a node that has not come back yet
                    self._claims.append(held)
                    return uid
                os.close(held)
            self._untried.append(uid)
        return None


def claim(name: str) -> int | None:
    """Reserve a name for this process on this machine: a descriptor to keep open, or None if another process has it."""
    CLAIMS.mkdir(mode=0o755, exist_ok=True, parents=True)
    descriptor = os.open(CLAIMS / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def end_all_of(uid: int) -> None:
    """SIGKILL to all processes of a user that nobody else has."""
    for seen in proc.processes():
        if proc.owner(seen.pid) == uid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(seen.pid, signal.SIGKILL)


def in_use(uid: int) -> bool:
    """Whether a process of this user is alive."""
    return any(proc.owner(seen.pid) == uid for seen in proc.processes() if seen.state != "Z")
