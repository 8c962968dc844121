"""The disk on which a daemon keeps images and what containers write: where it is one of this machine, it is not to become full."""

from __future__ import annotations

import os

from batchyard.compute.local.allotment import amount
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.layers import Short
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.tasks import Task, pause

FLOOR_BYTES, FLOOR_PART = 1024**3, 0.05  # with less free than the smaller of the two, no container is started
_AGAIN_S = 1.0


class DaemonDisk:
    """What is free there: asked of the kernel. The daemon is asked once where it keeps its things."""

    def __init__(self, engine: Engine, loop: Loop) -> None:
        self._engine, self._loop = engine, loop
        self._root = ""  # "": not known yet, or not on this machine
        self._kind = ""
        self._finding = Task(self._find())

    def free_bytes(self) -> int | None:
        """What containers can still write there; None if nobody here can tell."""
        seen = self._seen()
        return seen.f_bavail * seen.f_frsize if seen else None

    def place_of(self, id: str) -> str:
        """Where Docker keeps the files that it makes for a container, as /etc/hosts; "" if that is not known, or not on this machine."""
        place = f"{self._root}/containers/{id}"
        return place if self._root and os.path.isdir(place) else ""  # noqa: PTH112 - as the daemon says it

    def short(self) -> Short | None:
        """Whether there is too little room left for what containers write."""
        seen = self._seen()
        if seen is None:
            return None
        floor = int(min(FLOOR_BYTES, seen.f_blocks * seen.f_frsize * FLOOR_PART))
        if seen.f_bavail * seen.f_frsize >= floor:
            return None
        return Short(f"the disk of {self._kind}'s containers ({self._root}) has less than {amount(floor)} left", floor)

    def _seen(self) -> os.statvfs_result | None:
        try:
            return os.statvfs(self._root) if self._root else None
        except OSError:
            return None

    async def _find(self) -> None:
        while True:
            try:
                kind, root = (await self._engine.meet()).kind.capitalize(), await self._engine.root()
            except (EngineAway, EngineError):
                await pause(self._loop, _AGAIN_S)
            else:
                if os.path.isdir(root):  # noqa: PTH112 - as the daemon says it
                    self._kind, self._root = kind, root
                return
