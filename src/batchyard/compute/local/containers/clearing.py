"""What is left of containers is taken away from the daemon: of those that have ended, and of those of earlier nodes."""

from __future__ import annotations

from batchyard.compute.local.containers import mapping
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.run import ContainerRun
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.node_log import say
from batchyard.compute.local.tasks import Task, either, pause

PATIENCE_S = 60.0  # how long a daemon that does not answer is waited for before a container is left to a later node
LATE_S = 300.0  # when a container is removed again whose creation was too slow for us
_AGAIN_S = 0.5


class Clearing:
    """Removes containers and their volumes. What earlier nodes of this name left goes first, as soon as the daemon answers."""

    def __init__(self, engine: Engine, node: str, loop: Loop) -> None:
        self._engine, self._loop = engine, loop
        self.trouble = ""  # why orphans cannot be looked for
        self.orphans: Task[None] = Task(self._clear_orphans(f"{mapping.NODE_LABEL}={node}"))  # done once there are none

    async def clear(self, run: ContainerRun) -> None:
        """Remove the container and its volumes; a daemon that is away is waited for, but not for ever: a later node does it then."""
        give_up_s = boot_s() + PATIENCE_S
        if run.making and not run.making.done:  # or it would be made after we have removed it
            await either(run.making, pause(self._loop, PATIENCE_S))
        while run.made:
            try:
                await self._engine.remove(run.name)
                for volume in mapping.empty_volumes(run.launch).values():
                    await self._engine.remove_volume(volume)
            except EngineError as error:
                say(f"cannot remove container {run.name}: {error}")
            except EngineAway as error:
                if boot_s() < give_up_s:
                    await pause(self._loop, _AGAIN_S)
                    continue
                say(f"container {run.name} is left behind: {error}")
            run.made = False

    async def clear_late(self, run: ContainerRun) -> None:
        """The same once more, when a container may have been made that nobody waited for."""
        await pause(self._loop, LATE_S)
        run.made = True
        await self.clear(run)

    async def _clear_orphans(self, label: str) -> None:
        while True:
            try:
                for id in await self._engine.labelled(label):
                    await self._engine.remove(id)
                for volume in await self._engine.labelled_volumes(label):
                    await self._engine.remove_volume(volume)
            except (EngineAway, EngineError) as error:
                if str(error) != self.trouble:
                    self.trouble = str(error)
                    say(f"containers of an earlier node cannot be looked for yet: {error}")
                await pause(self._loop, _AGAIN_S)
            else:
                return
