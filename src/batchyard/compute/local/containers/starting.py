"""From a launch to a container that runs: its part of the scratch space, its volumes, the container itself, its log, its start."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from batchyard.compute.local.containers import mapping
from batchyard.compute.local.containers.clearing import Clearing
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.layers import ContainerLayers
from batchyard.compute.local.containers.mapping import Surroundings
from batchyard.compute.local.containers.run import ContainerRun
from batchyard.compute.local.containers.scratch import ContainerScratch
from batchyard.compute.local.containers.wire import EngineAway, EngineSlow
from batchyard.compute.local.instances import notice_path
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.place import Place, of_needs
from batchyard.compute.local.spawn import CannotStart
from batchyard.compute.local.tasks import Task, aside, either, pause
from batchyard.compute.local.watched import MARKER

_EXPECT_S = 0.003
_CONFLICT = 409


class Starting:
    """Makes and starts containers with one daemon."""

    def __init__(
        self,
        engine: Engine,
        around: Surroundings,
        place: Place,
        scratch: ContainerScratch,
        layers: ContainerLayers,
        clearing: Clearing,
        loop: Loop,
    ) -> None:
        """`scratch`: what gives each attempt of a single container its part; of a task, its room does."""
        self._engine, self._around, self._place, self._scratch = engine, around, place, scratch
        self._layers, self._clearing, self._loop = layers, clearing, loop
        # No variable is better than one that leads nowhere.
        self._doors = place.doors if place.doors and place.doors.reach(around.network) else None

    async def started(self, run: ContainerRun, image: str) -> Task[None]:
        """Make and start it; the task that reads what it writes. CannotStart with a reason in the words of aws-batch.md 2.3.

        EngineAway when the daemon goes away: `run.running` says whether it may have been started.
        """
        run.id = await self._made(run, image)
        ahead = Task(self._engine.inspect(run.name)) if not self._engine.is_podman else None
        try:
            log = Task(run.output.read(await self._engine.attach(run.name)))
            if self._engine.is_podman:  # its first process is there now, and waits
                found = await self._engine.inspect(run.name) or {}
                run.meter.find((found.get("State") or {}).get("Pid") or 0, run.id)
            starting = Task(self._engine.start(run.name))
            while not starting.done:
                run.meter.expect(run.id)
                await either(starting, pause(self._loop, _EXPECT_S))
            run.running = True  # or nobody knows: from here on it is never started again
            starting.result()
            run.meter.find_first(run.id)
        except EngineSlow as slow:
            raise CannotStart("DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s") from slow
        except EngineError as error:
            run.running = False
            raise CannotStart(f"CannotStartContainerError: Error response from daemon: {error}") from error
        self._take_in(run, ahead)
        run.watcher.began(run, wall_ms(), boot_s())
        return log

    def _take_in(self, run: ContainerRun, ahead: Task[dict[str, Any] | None] | None) -> None:
        """What Docker said of it before it was started, if it did: then it need not be asked, which it does not answer while one ends."""
        if ahead is None or not ahead.done or run.has_own_network or run.meter.ended is None:
            return
        with contextlib.suppress(EngineAway, EngineError):
            if found := ahead.result():
                self._layers.foresee(run.launch.attempt, run.name, found)
                run.note_addresses(found)

    async def _made(self, run: ContainerRun, image: str) -> str:
        """Make it, unless it is there already: its id."""
        if not run.part and not run.is_furnished:
            run.is_furnished = True
            try:
                run.launch = self._scratch.open(run.launch)
            except OSError as error:
                raise CannotStart(f"CannotCreateContainerError: {error.strerror or error} ({error.filename})") from error
        launch = run.launch
        run.made = True
        labels = mapping.labels(launch, self._around.node)
        for volume in mapping.empty_volumes(launch).values():
            await self._engine.make_volume(volume, labels)
        around = self._around._replace(podman=self._engine.is_podman)
        if not self._engine.is_podman:
            around = around._replace(default_ulimits=())
        try:
            run.making = Task(self._engine.create(run.name, mapping.request_body(launch, image, self._variables(run), run.gpus, around)))
            run.output.open()
            return str(await run.making)
        except EngineSlow as slow:
            aside(self._clearing.clear_late(run))
            raise CannotStart("DockerTimeoutError: Could not transition to created; timed out after waiting 4m0s") from slow
        except EngineError as error:
            if error.status != _CONFLICT:
                raise
        found = await self._engine.inspect(run.name)
        if found is None or ((found.get("Config") or {}).get("Labels") or {}).get(mapping.ATTEMPT_LABEL) != launch.attempt:
            raise CannotStart(f"CannotCreateContainerError: the name {run.name} is taken by another container")
        return str(found["Id"])

    def _variables(self, run: ContainerRun) -> dict[str, str]:
        launch = run.launch
        doors = self._doors.environment_of(launch, run.part) if self._doors else {}
        variables = {**doors, **launch.environment, MARKER: launch.attempt, **of_needs(launch)}
        if self._around.notices:
            file = Path(notice_path(self._place.work, launch.instance)).name
            variables["BATCHYARD_SPOT_NOTICE_FILE"] = f"{mapping.NOTICES}/{file}"
        if run.gpus:
            numbers = ",".join(str(number) for number in run.gpus)
            variables["NVIDIA_VISIBLE_DEVICES"] = numbers
        return variables
