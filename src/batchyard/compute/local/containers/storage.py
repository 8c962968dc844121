"""What a container read from storage and wrote to it, counted by process (see `cage.Usage`), though its processes are not ours to wait for.

A process has with it those that it waited for, so the sum over a container's living processes only rises, but for those that nobody
waits for, and the largest sum counts. When the first process has ended, what it had is there until the daemon's helper (Docker's shim,
Podman's conmon) reaps it; from then on the helper has it with what it waited for, until it ends too. One of the two is nearly always
found; where neither is, the last look counts. What is missing in any case is the last second of those who are ended with the first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from batchyard.compute.local import knobs, proc
from batchyard.compute.local.knobs import Knob, number_after


class Bytes(NamedTuple):
    """So many read, so many written."""

    read: int
    written: int


class Storage:
    """The counts of one container."""

    def __init__(self) -> None:
        self.used: Bytes | None = None  # None: nobody may look, or it was gone before
        self._first = self._helper = 0
        self._first_io: Knob | None = None
        self._helper_io: Knob | None = None
        self._before: Bytes | None = None  # what the helper had waited for while the first process was not yet among it

    def follow(self, first: int) -> None:
        """Its first process is this one. To be said again while it is started: who it is and who its parent is changes."""
        if first and first != self._first:
            self._first, self._first_io = first, _opened(first)
        seen = proc.process(self._first) if self._first else None
        if seen and seen.parent != self._helper:
            self._helper, self._helper_io = seen.parent, _opened(seen.parent)
            self._look_at_helper()

    def look(self, members: Iterable[int]) -> None:
        """Count the living processes of the container."""
        self._take([counted for counted in (_counts(knobs.read(Path(f"/proc/{pid}/io")).encode()) for pid in members) if counted])
        self._look_at_helper()

    def end(self) -> None:
        """Its first process has ended: take what it had, or what its helper had of it."""
        last = _read(self._first_io)
        if last:
            self._take([last])  # it is a zombie still
        elif self._before:
            now = self._waited_by_helper()
            if now:
                self._take([Bytes(now.read - self._before.read, now.written - self._before.written)])
        self.close()

    def close(self) -> None:
        """Read no more; what was counted stays."""
        for knob in (self._first_io, self._helper_io):
            if knob:
                knob.close()
        self._first_io = self._helper_io = self._before = None

    def _take(self, counts: list[Bytes]) -> None:
        if counts:
            before = self.used or Bytes(0, 0)
            self.used = Bytes(*(max(before[which], sum(count[which] for count in counts)) for which in (0, 1)))

    def _look_at_helper(self) -> None:
        waited = self._waited_by_helper()
        if waited and _read(self._first_io):  # in this order: it was not yet reaped when we looked at the helper
            self._before = waited

    def _waited_by_helper(self) -> Bytes | None:
        """What all those had used that the helper has waited for: without its own, since it may write the container's log."""
        threads = Path(f"/proc/{self._helper}/task")
        try:
            own = [_counts(knobs.read(threads / id / "io").encode()) for id in os.listdir(threads)]  # noqa: PTH208 - only their names
        except OSError:  # it has just ended
            return None
        whole = _read(self._helper_io)
        if whole is None:
            return None
        return Bytes(*(whole[which] - sum(counted[which] for counted in own if counted) for which in (0, 1)))


def _opened(pid: int) -> Knob | None:
    with contextlib.suppress(OSError):
        return Knob(f"/proc/{pid}/io", os.O_RDONLY)
    return None


def _read(knob: Knob | None) -> Bytes | None:
    if knob is None:
        return None
    try:
        return _counts(knob.read())
    except OSError:  # it is gone
        return None


def _counts(told: bytes) -> Bytes | None:
    return Bytes(number_after(b"read_bytes:", told), number_after(b"write_bytes:", told)) if told else None
