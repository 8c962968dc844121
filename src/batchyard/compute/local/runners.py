"""The ways in which one node runs attempts, and which of them a launch takes."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.cage import Tree
from batchyard.compute.local.households import ProcessRooms
from batchyard.compute.local.journal import Journal
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.place import Place
from batchyard.compute.local.process import ProcessRunner
from batchyard.compute.local.runner import Runner
from batchyard.compute.local.slots import Slots
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.task import TaskRunner
from batchyard.model.messages import Launch

if TYPE_CHECKING:
    from batchyard.compute.local.containers.runner import ContainerRunner


class Runners:
    """As processes; in containers, where there is a daemon; and tasks of several containers, which run over either."""

    def __init__(
        self,
        options: argparse.Namespace,
        place: Place,
        tree: Tree,
        slots: Slots,
        journal: Journal,
        sweeper: Sweeper,
        allotments: Allotments,
        loop: Loop,
    ) -> None:
        """`options`: see `node_options`. Nothing runs yet; a daemon does not have to answer yet."""
        self.processes = ProcessRunner(place, tree, slots, journal, sweeper, loop)
        self._tasks = TaskRunner(self.processes, ProcessRooms(self.processes, place.work, slots, sweeper), loop)
        self.containers: ContainerRunner | None = None
        self._contained_tasks: TaskRunner | None = None
        if options.container_socket:  # imported only then: a node without it starts more quickly
            from batchyard.compute.local.containers.build import container_runner
            from batchyard.compute.local.containers.rooms import ContainerRooms
            from batchyard.compute.local.containers.scratch import ContainerScratch

            # Without root we could not remove what the users of containers leave there.
            gives_scratch = options.container_scratch == "on" and os.geteuid() == 0
            self.containers = container_runner(
                options.container_socket,
                options.pull,
                options.container_network,
                options.image_cache_gib,
                place,
                slots.gpus,
                journal,
                loop,
                ContainerScratch(place.work, allotments, sweeper, is_given=gives_scratch),
            )
            rooms = ContainerRooms(place.work, sweeper, allotments, gives_scratch=gives_scratch)
            self._contained_tasks = TaskRunner(self.containers, rooms, loop)

    def of(self, launch: Launch) -> Runner:
        """Who runs it."""
        if self.containers and self._contained_tasks and launch.runtime == "container":
            return self._contained_tasks if launch.containers else self.containers
        return self._tasks if launch.containers else self.processes

    def direct(self) -> list[Runner]:
        """Those that run containers themselves, rather than having others run them."""
        return [self.processes, *([self.containers] if self.containers else ())]

    def trouble(self) -> str:
        """Why nothing should be started now; "" if nothing speaks against it."""
        return self.containers.layers.trouble() if self.containers else ""

    def busy(self) -> bool:
        """Whether something is still being cleared away that the node should not leave behind."""
        return self.containers is not None and self.containers.busy()

    def close(self) -> None:
        """The node ends: nothing is running any more."""
        self.processes.close()
        if self.containers:
            self.containers.close()
