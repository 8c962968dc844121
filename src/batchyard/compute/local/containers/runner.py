"""The life of a container: its image is waited for, it is started, followed to its end, and removed.

How each part goes is told in `starting`, `following` and `clearing`; here is the order, and what holds whatever happens on the way.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime

from batchyard.compute.local.containers.clearing import PATIENCE_S, Clearing
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.following import Following
from batchyard.compute.local.containers.images import CannotPull, Images
from batchyard.compute.local.containers.layers import ContainerLayers
from batchyard.compute.local.containers.mapping import HOST_NETWORK, Surroundings
from batchyard.compute.local.containers.meter import Groups, Meter
from batchyard.compute.local.containers.output import Output
from batchyard.compute.local.containers.run import ContainerRun
from batchyard.compute.local.containers.scratch import ContainerScratch
from batchyard.compute.local.containers.starting import Starting
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.journal import Journal
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.node_log import say
from batchyard.compute.local.output import Attention
from batchyard.compute.local.place import Place
from batchyard.compute.local.runner import Ending, Run, Watcher
from batchyard.compute.local.slots import Gpus
from batchyard.compute.local.spawn import CannotStart
from batchyard.compute.local.tasks import Cancelled, Task, Turnstile, either, pause
from batchyard.model.messages import Launch

STARTS_AT_A_TIME = 8
_LOOK_S = 0.25
_AGAIN_S = 0.5
_TOLD_S = 0.001  # beyond the turn in which the end is told: nobody waits for what is left of it
_UNKNOWN = 404


class ContainerRunner:
    """See `runner.Runner`. Runs containers with one daemon."""

    def __init__(
        self,
        engine: Engine,
        images: Images,
        around: Surroundings,
        place: Place,
        gpus: Gpus,
        journal: Journal,
        loop: Loop,
        scratch: ContainerScratch,
        layers: ContainerLayers,
    ) -> None:
        """`scratch`: what gives each attempt of a single container its part; of a task, its room does."""
        self._engine, self._images, self._place, self._scratch = engine, images, place, scratch
        self._network = around.network
        self.layers = layers
        self._gpus, self._journal, self._loop = gpus, journal, loop
        self._clearing = Clearing(engine, around.node, loop)
        self._starting = Starting(engine, around, place, scratch, layers, self._clearing, loop)
        self._following = Following(engine, layers, loop)
        self._groups = Groups()
        self._attention = Attention()
        self._entrance = Turnstile(STARTS_AT_A_TIME)
        self._living: set[ContainerRun] = set()
        self._leaving = 0  # that have ended, and are still being cleared away
        self._looking = False

    @property
    def engine(self) -> Engine:
        """The daemon that it speaks to."""
        return self._engine

    # --- what a Runner does ---

    def prepare(self, launch: Launch, watcher: Watcher, name: str = "") -> ContainerRun:
        output = Output(launch, name, self._place, self._attention, self._loop)
        meter = Meter(self._groups, self._loop)
        return ContainerRun(self._engine, meter, output, launch, watcher, name, has_own_network=self._network != HOST_NETWORK)

    def begin(self, run: Run) -> bool:
        assert isinstance(run, ContainerRun)
        gpus = self._gpus.take(run.launch.needs.gpus)
        if gpus is None:
            why = f"CannotStartContainerError: {run.launch.needs.gpus} GPUs are wanted and fewer are free here"
            run.watcher.ended(run, Ending(None, boot_s(), reason=why))
            return True
        run.gpus = gpus
        run.life = Task(self._live(run))
        return True

    def reap(self) -> None:
        """A container's processes are not our children."""

    def end_orphans(self) -> int:
        return 0 if self._clearing.orphans.done or not self._journal.intents else 1

    def busy(self) -> bool:
        return bool(self._leaving)

    def close(self) -> None:
        self._images.close()
        for run in self._living:
            run.meter.close()

    # --- the life of one ---

    async def _live(self, run: ContainerRun) -> None:
        """From the beginning to the end, whatever happens: `ended` is told once, and nothing is left with the daemon."""
        self._living.add(run)
        image = run.launch.container.get("image", "")
        self._images.hold(image)
        if not self._looking:
            self._look()
        try:
            ending = await self._ran(run)
        except Cancelled:
            ending = Ending(None, boot_s())
        except (CannotStart, CannotPull) as why:
            ending = Ending(None, boot_s(), reason=str(why))
        except Exception as error:  # noqa: BLE001 - not swallowed: our own mistake must not leave a job running for ever
            say("".join(traceback.format_exception(error)))
            ending = Ending(None, boot_s(), reason=f"CannotStartContainerError: {error}", lost=run.running)
        run.running, run.settled = False, True
        self._living.remove(run)
        run.meter.close()
        self._leaving += 1
        over = ending.exit_code is not None or run.gone or bool(run.meter.ended and run.meter.ended.done)
        if not over:  # it may run still: it is ended before we say that it is over
            await self._clearing.clear(run)
        run.output.finish(ending.reason)
        self._gpus.give_back(run.gpus)
        if run.is_furnished:
            self._scratch.close(run.launch)
        run.watcher.ended(run, ending)
        if over:
            await pause(self._loop, _TOLD_S)
            await self._clearing.clear(run)
        self._images.let_go(image)
        self.layers.remove(run.launch.attempt, run.name)
        if run.is_furnished:
            self._scratch.give_up(run.launch)
        self._leaving -= 1

    async def _ran(self, run: ContainerRun) -> Ending:
        """Have its image, start it, follow it to its end. A daemon that is away is waited for; CannotStart, CannotPull if it cannot run."""
        give_up_s = boot_s() + PATIENCE_S
        is_asked = False
        while True:
            try:
                await either(self._clearing.orphans, pause(self._loop, give_up_s - boot_s()))
                if not self._clearing.orphans.done:
                    raise CannotStart(f"CannotCreateContainerError: {self._clearing.trouble}")
                container = run.launch.container
                since_ms = wall_ms()
                image = await self._images.ready(
                    container.get("image", ""), container.get("imagePullPolicy", ""), auth=run.launch.registry_auth, is_asked=is_asked
                )
                run.seen = run.seen._replace(pull_started=_stamp(since_ms), pull_stopped=_stamp(wall_ms()))
                await self._entrance.enter()
                try:
                    log = await self._starting.started(run, image)
                finally:
                    self._entrance.leave()
            except EngineAway as away:
                self._engine.daemon = None  # it may be another one when it is back
                if run.running:
                    return Ending(None, boot_s(), lost=True)
                if boot_s() > give_up_s:
                    raise CannotStart(f"CannotCreateContainerError: {away}") from away
                await pause(self._loop, _AGAIN_S)
            except EngineError as error:
                if error.status != _UNKNOWN or is_asked:
                    raise CannotStart(f"CannotCreateContainerError: Error response from daemon: {error}") from error
                is_asked = True  # the image may have been removed since it was last seen
            else:
                return await self._following.followed(run, log)

    def _look(self) -> None:
        """Four times a second, as long as any lives."""
        for run in self._living:
            run.meter.look()
            run.output.tick()
        self._looking = bool(self._living)
        if self._looking:
            self._loop.at(boot_s() + _LOOK_S, self._look)


def _stamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
