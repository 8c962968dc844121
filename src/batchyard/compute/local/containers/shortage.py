"""That memory was short in a cgroup of version 1, known also when the cgroup was removed before anybody could read its files.

The kernel counts into an eventfd each time that a cgroup is out of memory, and once more when the cgroup goes; the count stays. That the
cgroup has gone is told by a second one, for an event that never comes.
"""

from __future__ import annotations

import os
from pathlib import Path

from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import pause

_NEVER = str(1 << 60)  # bytes
_GOES_S = 2.0  # how long the kernel may take to tell that a cgroup has gone whose files are gone
_AGAIN_S = 0.01


class Shortage:
    """What the kernel tells of one cgroup from here on. OSError if it will not (other systems, and cgroups of version 2)."""

    def __init__(self, group: Path) -> None:
        if not hasattr(os, "eventfd"):
            raise OSError("this system has no eventfd")
        self._short = self._gone = -1
        try:
            self._gone = _told_of(group, "memory.usage_in_bytes", _NEVER)
            self._short = _told_of(group, "memory.oom_control")  # who asks last is told first when the cgroup goes
        except OSError:
            self.close()
            raise

    async def was(self, loop: Loop) -> bool:
        """Whether memory was short in the cgroup, which is about to go or has gone; False if it does not go."""
        give_up_s = boot_s() + _GOES_S
        while self._gone >= 0 and not _count(self._gone):
            if boot_s() > give_up_s:
                return False
            await pause(loop, _AGAIN_S)
        await pause(loop, _AGAIN_S)  # both are told of its going, one after the other
        return _count(self._short) > 1

    def close(self) -> None:
        """Hear no more."""
        for descriptor in (self._short, self._gone):
            if descriptor >= 0:
                os.close(descriptor)
        self._short = self._gone = -1


def _told_of(group: Path, file: str, *arguments: str) -> int:
    """An eventfd that counts events of a file."""
    counting = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        watched = os.open(group / file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            (group / "cgroup.event_control").write_text(" ".join((str(counting), str(watched), *arguments)))
        finally:
            os.close(watched)
    except OSError:
        os.close(counting)
        raise
    return counting


def _count(descriptor: int) -> int:
    """What it has counted since it was asked last."""
    try:
        return os.eventfd_read(descriptor) if descriptor >= 0 else 0
    except BlockingIOError:
        return 0
