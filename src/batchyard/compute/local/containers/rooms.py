"""What the containers of a task share: directories of this machine for its volumes, bound into those that mount them."""

from __future__ import annotations

from pathlib import Path

from batchyard.compute.local import volumes
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.task import Room
from batchyard.model.messages import Launch
from batchyard.store.logs import file_name

_OTHERS_PASS = 0o711


class ContainerRooms:
    """Keeps them in `work`, one directory per task (see `task.Rooms`)."""

    def __init__(self, work: str, sweeper: Sweeper) -> None:
        self._work, self._sweeper = work, sweeper

    def open(self, launch: Launch) -> Room:
        place = self._place(launch)
        Path(place).mkdir(mode=_OTHERS_PASS)
        return Room(volumes.make(place, launch, None))

    def furnish(self, launch: Launch, room: Room) -> Launch:
        return volumes.mounted(launch, room.volumes)

    def close(self, launch: Launch) -> None:
        self._sweeper.remove(self._place(launch))

    def _place(self, launch: Launch) -> str:
        return f"{self._work}/{file_name(launch.attempt)}"
