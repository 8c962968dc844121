"""What the containers of a task share: directories of this machine for its volumes, bound into those that mount them."""

from __future__ import annotations

import os

from batchyard.compute.local import volumes
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.containers import scratch
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.task import Room
from batchyard.model.messages import Launch
from batchyard.store.logs import file_name


class ContainerRooms:
    """Keeps them in `work`, one directory per task (see `task.Rooms`)."""

    def __init__(self, work: str, sweeper: Sweeper, allotments: Allotments, *, gives_scratch: bool = False) -> None:
        """`gives_scratch`: whether each container gets its part of the scratch space without asking."""
        self._work, self._sweeper, self._allotments, self._gives_scratch = work, sweeper, allotments, gives_scratch

    def open(self, launch: Launch) -> Room:
        place = self._place(launch)
        self._allotments.ground.make(place)
        self._allotments.open(launch.attempt, launch.needs, place)
        os.chmod(place, scratch.CLOSED)  # noqa: PTH101 - a string all the way
        return Room(volumes.make(place, launch, None))

    def furnish(self, launch: Launch, room: Room, name: str) -> Launch:
        mounted = volumes.mounted(launch, room.volumes)
        return scratch.furnished(mounted, self._place(launch), name) if self._gives_scratch else mounted

    def close(self, launch: Launch) -> None:
        place = self._place(launch)
        self._allotments.close(place)
        self._allotments.give_up(place, self._sweeper)

    def _place(self, launch: Launch) -> str:
        return f"{self._work}/{file_name(launch.attempt)}"
