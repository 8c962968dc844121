"""What the containers of a task share where they are processes: one user, and the directories of their volumes."""

from __future__ import annotations

import os

from batchyard.compute.local import volumes
from batchyard.compute.local.process import ProcessRunner
from batchyard.compute.local.process_run import Household, directory_name
from batchyard.compute.local.slots import Slot, Slots, end_all_of
from batchyard.compute.local.spawn import Identity
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.task import Room
from batchyard.model.messages import Launch

_OTHERS_PASS = 0o711


class ProcessRooms:
    """Holds a slot per task (see `task.Rooms`): its user is that of all containers, and its home holds the volumes."""

    def __init__(self, runner: ProcessRunner, work: str, slots: Slots, sweeper: Sweeper) -> None:
        self._runner, self._work, self._slots, self._sweeper = runner, work, slots, sweeper
        self._held: dict[str, Slot] = {}

    def open(self, launch: Launch) -> Room | None:
        slot = self._slots.take()
        if slot is None:
            return None
        self._held[launch.attempt] = slot
        try:
            who = Identity(slot.uid, slot.uid) if slot.uid is not None else None
            name = directory_name(launch.attempt)
            home, _ = slot.quarters.move_in(launch.attempt, launch.needs, name, who)
            if any(container.user for container in launch.containers):
                os.chmod(home, _OTHERS_PASS)  # noqa: PTH101 - a string all the way
            made = volumes.make(home, launch, slot.uid)
        except OSError:
            self.close(launch)
            raise
        self._runner.households[launch.attempt] = Household(slot.uid, f"{self._work}/{name}")
        return Room(made)

    def furnish(self, launch: Launch, room: Room, name: str) -> Launch:
        return volumes.named(launch, room.volumes)

    def close(self, launch: Launch) -> None:
        self._runner.households.pop(launch.attempt, None)
        slot = self._held.pop(launch.attempt)
        if slot.uid is not None and not self._runner.tree_outlives_us:
            end_all_of(slot.uid)  # who left its container's session is known by nothing else
        slot.quarters.move_out(self._sweeper, reusable=False)
        if not self._runner.has_leftovers:  # else its user id may still be in use: nobody else gets it
            self._slots.give_back(slot)
