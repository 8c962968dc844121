"""What the containers of a task share: directories of this machine for its volumes, bound into those that mount them."""

from __future__ import annotations

from batchyard.compute.local import volumes
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.task import Room
from batchyard.model.messages import Launch
from batchyard.store.logs import file_name


class ContainerRooms:
    """Keeps them in `work`, one directory per task (see `task.Rooms`)."""

    def __init__(self, work: str, sweeper: Sweeper, allotments: Allotments) -> None:
        self._work, self._sweeper, self._allotments = work, sweeper, allotments

    def open(self, launch: Launch) -> Room:
        place = self._place(launch)
        self._allotments.ground.make(place)
        self._allotments.open(launch.attempt, launch.needs, place)
        return Room(volumes.make(place, launch, None))

    def furnish(self, launch: Launch, room: Room) -> Launch:
        return volumes.mounted(launch, room.volumes)

    def close(self, launch: Launch) -> None:
        place = self._place(launch)
        self._allotments.give_up(place, self._sweeper, self._allotments.close(place))

    def _place(self, launch: Launch) -> str:
        return f"{self._work}/{file_name(launch.attempt)}"
