"""The life of a container: its image is waited for, it is made, attached to, started, followed to its end, and removed.

What the daemon loses is the loss of a host: a container that is gone, or that ended because its daemon did, has no outcome. Podman's
containers live on without the service that started them, and so do Docker's with live-restore: those are found again.
"""

from __future__ import annotations

import traceback
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchyard.compute.local.containers import mapping
from batchyard.compute.local.containers.engine import Demultiplexer, Engine, EngineError
from batchyard.compute.local.containers.images import CannotPull, Images
from batchyard.compute.local.containers.mapping import Surroundings
from batchyard.compute.local.containers.meter import Groups, Meter
from batchyard.compute.local.containers.scratch import ContainerScratch
from batchyard.compute.local.containers.wire import Connection, EngineAway, EngineSlow
from batchyard.compute.local.instances import notice_path
from batchyard.compute.local.journal import Journal
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.output import MIB, Attention, Sink, sink_of
from batchyard.compute.local.process import Place, of_needs
from batchyard.compute.local.runner import About, Ending, Run, Watcher
from batchyard.compute.local.slots import Gpus
from batchyard.compute.local.spawn import CannotStart
from batchyard.compute.local.tasks import Cancelled, Promise, Task, Turnstile, either, pause
from batchyard.compute.local.watched import MARKER
from batchyard.model.messages import Launch

STARTS_AT_A_TIME = 8
HOST_NETWORK = "host"
PATIENCE_S = 60.0  # how long a daemon that does not answer is waited for before an attempt is given up
LOG_S = 5.0  # how long the rest of the log is waited for after the end
LATE_S = 300.0  # when a container is removed again whose creation was too slow for us
MUCH_BYTES = 32768  # read at once from a container that writes without a pause
_LOOK_S = 0.25
_STATS_S = 1.0
_EXPECT_S = 0.003
_AGAIN_S = 0.5
_SOON_S, _SOON_MOST_S = 0.004, 0.25
_STOP = ""  # the signal by which a container says that it wants to be asked to end
_KILLED = 137
_UNKNOWN = 404
_REMOVED_S = 0.3
_OVER = ("exited", "stopped")
_LOST = ("gone", "removing", "dead")  # somebody else removes it


class ContainerRun:
    """One container."""

    def __init__(self, owner: ContainerRunner, launch: Launch, watcher: Watcher, name: str) -> None:
        self.launch = launch
        self.watcher = watcher
        self.name = mapping.container_name(launch, name)
        self.part = name  # of its task; "" where there is only one
        self.seen = About(name=self.name)
        self.running = False
        self.id = ""
        self.made = False  # the daemon was asked to make it
        self.making: Task[Any] | None = None  # the request, which goes on when the run is given up
        self.gpus: tuple[int, ...] = ()
        self.output: Sink | None = None
        self.stop_signal = ""  # its image's; the daemon is asked when it is needed
        self.life: Task[None] | None = None
        self.asked = False  # to end
        self.gone = False  # the daemon has lost it
        self.is_furnished = False  # directories of the attempt were made for it
        self.settled = False  # what came of it is known, or it was given up: nothing can be asked of it any more
        self._owner = owner

    def terminate(self) -> None:
        self._end(_STOP)

    def kill(self) -> None:
        self._end("SIGKILL")

    async def about(self) -> About:
        if self.id and not self.settled and not self.seen.image_id:
            await self._owner.look_at(self)
        return self.seen._replace(id=self.id)

    async def stats(self) -> dict[str, Any] | None:
        return await self._owner.stats(self) if self.id and not self.settled else None

    def _end(self, signal: str) -> None:
        if self.running:
            self._owner.signal(self, signal)
        elif self.life and not self.settled:
            self.settled = True
            self.life.cancel()


class ContainerRunner:
    """Runs containers with one daemon."""

    def __init__(
        self,
        engine: Engine,
        images: Images,
        around: Surroundings,
        place: Place,
        gpus: Gpus,
        journal: Journal,
        loop: Loop,
        scratch: ContainerScratch | None = None,
    ) -> None:
        """`scratch`: what gives each attempt of a single container its part; of a task, its room does."""
        self._scratch = scratch
        self._engine, self._images, self._around, self._place = engine, images, around, place
        # From other networks nobody reaches 127.0.0.1: no variable is better than one that leads nowhere.
        self._doors = place.doors if around.network == HOST_NETWORK else None
        self._gpus, self._journal, self._loop = gpus, journal, loop
        self._groups = Groups()
        self._attention = Attention()
        self._meters: dict[ContainerRun, Meter] = {}
        self._stats: dict[ContainerRun, tuple[float, Task[dict[str, Any] | None]]] = {}
        self._entrance = Turnstile(STARTS_AT_A_TIME)
        self._clearing = 0
        self._trouble = ""  # why orphans cannot be looked for
        self._orphans: Task[None] = Task(self._clear_orphans())
        self._looking = False

    @property
    def engine(self) -> Engine:
        """The daemon that it speaks to."""
        return self._engine

    # --- what a Runner does ---

    def prepare(self, launch: Launch, watcher: Watcher, name: str = "") -> ContainerRun:
        return ContainerRun(self, launch, watcher, name)

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
        return 0 if self._orphans.done or not self._journal.intents else 1

    def busy(self) -> bool:
        return bool(self._clearing)

    def close(self) -> None:
        self._images.close()
        for meter in self._meters.values():
            meter.close()

    # --- the life of one ---

    async def _live(self, run: ContainerRun) -> None:
        """From the beginning to the end, whatever happens: `ended` is told once, and nothing is left with the daemon."""
        meter = self._meters[run] = Meter(self._groups, self._loop)
        if not self._looking:
            self._look()
        try:
            ending = await self._ran(run, meter)
        except Cancelled:
            ending = Ending(None, boot_s())
        except (CannotStart, CannotPull) as why:
            ending = Ending(None, boot_s(), reason=str(why))
        except Exception as error:  # noqa: BLE001 - not swallowed: our own mistake must not leave a job running for ever
            _say("".join(traceback.format_exception(error)))
            ending = Ending(None, boot_s(), reason=f"CannotStartContainerError: {error}", lost=run.running)
        run.running, run.settled = False, True
        del self._meters[run]
        self._stats.pop(run, None)
        meter.close()
        self._clearing += 1
        over = ending.exit_code is not None or run.gone or bool(meter.ended and meter.ended.done)
        if not over:  # it may run still: it is ended before we say that it is over
            await self._clear(run)
        self._finish_output(run, ending.reason)
        self._gpus.give_back(run.gpus)
        if run.is_furnished and self._scratch:
            self._scratch.close(run.launch)
        run.watcher.ended(run, ending)
        if over:
            await self._clear(run)
        if run.is_furnished and self._scratch:
            self._scratch.give_up(run.launch)
        self._clearing -= 1

    async def _ran(self, run: ContainerRun, meter: Meter) -> Ending:
        give_up_s = boot_s() + PATIENCE_S
        is_asked = False
        while True:
            try:
                await either(self._orphans, pause(self._loop, give_up_s - boot_s()))
                if not self._orphans.done:
                    raise CannotStart(f"CannotCreateContainerError: {self._trouble}")
                container = run.launch.container
                since_ms = wall_ms()
                image = await self._images.ready(
                    container.get("image", ""), container.get("imagePullPolicy", ""), auth=run.launch.registry_auth, is_asked=is_asked
                )
                run.seen = run.seen._replace(pull_started=_stamp(since_ms), pull_stopped=_stamp(wall_ms()))
                await self._entrance.enter()
                try:
                    log = await self._started(run, meter, image)
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
                return await self._followed(run, meter, log)

    async def _started(self, run: ContainerRun, meter: Meter, image: str) -> Task[None]:
        """Make and start it; the task that reads what it writes."""
        run.id = await self._made(run, image)
        self._open_output(run)
        try:
            log = Task(self._read(run, await self._engine.attach(run.name)))
            if self._engine.is_podman:  # its first process is there now, and waits
                found = await self._engine.inspect(run.name) or {}
                meter.find((found.get("State") or {}).get("Pid") or 0, run.id)
            starting = Task(self._engine.start(run.name))
            while not starting.done:
                meter.expect(run.id)
                await either(starting, pause(self._loop, _EXPECT_S))
            run.running = True  # or nobody knows: from here on it is never started again
            starting.result()
            meter.find_first(run.id)
        except EngineSlow as slow:
            raise CannotStart("DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s") from slow
        except EngineError as error:
            run.running = False
            raise CannotStart(f"CannotStartContainerError: Error response from daemon: {error}") from error
        run.watcher.began(run, wall_ms(), boot_s())
        return log

    async def _made(self, run: ContainerRun, image: str) -> str:
        """Make it, unless it is there already: its id."""
        if self._scratch and not run.part and not run.is_furnished:
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
            return str(await run.making)
        except EngineSlow as slow:
            _aside(self._clear_late(run))
            raise CannotStart("DockerTimeoutError: Could not transition to created; timed out after waiting 4m0s") from slow
        except EngineError as error:
            if error.status != 409:
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

    async def _followed(self, run: ContainerRun, meter: Meter, log: Task[None]) -> Ending:
        """Wait for the end; what came of it."""
        soon_s, was_away, seen_s = _SOON_S, False, boot_s()
        over: Promise[None] | None = None
        while True:
            try:
                found = await self._engine.inspect(run.name)
                state: dict[str, Any] = found["State"] if found else {"Status": "gone"}
                if state["Status"] in _LOST:
                    run.gone = True
                    return Ending(None, boot_s(), lost=True)
                if state["Status"] in _OVER:
                    return await self._outcome(run, meter, log, state, lost=was_away and not self._engine.is_podman)
                if log.done and was_away:
                    log = Task(self._read(run, await self._engine.attach(run.name)))
                was_away, seen_s = False, boot_s()
                if meter.find(state.get("Pid") or 0, run.id):
                    over = meter.ended
                elif over is None or over.done:
                    over = Task(self._engine.wait(run.name))
            except EngineError as error:
                _say(f"container {run.name}: {error}")
                await pause(self._loop, _AGAIN_S)
                continue
            except EngineAway:
                was_away = True
                over_there = meter.ended.done and not self._engine.is_podman if meter.ended else boot_s() > seen_s + PATIENCE_S
                if over_there:
                    return Ending(None, boot_s(), lost=True)
                await pause(self._loop, _AGAIN_S)
                continue
            if over is not None and over.done:  # it has ended, and the daemon has not noticed yet
                await pause(self._loop, soon_s)
                soon_s = min(soon_s * 2, _SOON_MOST_S)
            elif log.done:  # it closed its output, or the daemon is going away
                await either(over, pause(self._loop, _AGAIN_S)) if over else await pause(self._loop, _AGAIN_S)
            else:
                await either(log, over) if over else await either(log)

    async def _outcome(self, run: ContainerRun, meter: Meter, log: Task[None], state: dict[str, Any], lost: bool) -> Ending:
        run.running = False
        at_s = boot_s()
        await either(log, pause(self._loop, LOG_S))
        usage = meter.usage()
        if state.get("OOMKilled") and not usage.oom:  # its cgroup was gone before we looked; so much is certain
            usage = usage._replace(oom=True, peak_memory_mib=max(usage.peak_memory_mib or 0.0, run.launch.needs.memory_mib))
        code = int(state["ExitCode"]) & 0xFF
        if code == _KILLED and not usage.oom and not run.asked:  # by whom? Somebody who removes it does it in two steps
            await pause(self._loop, _REMOVED_S)
            lost = lost or await self._is_lost(run)
        return Ending(None, at_s, lost=True) if lost else Ending(code, at_s, usage)

    async def _is_lost(self, run: ContainerRun) -> bool:
        try:
            found = await self._engine.inspect(run.name)
        except (EngineAway, EngineError):
            return not self._engine.is_podman
        return found is None or found["State"]["Status"] in _LOST

    async def look_at(self, run: ContainerRun) -> None:
        """Ask the daemon for what only it knows of a container; nothing comes of it while the daemon is away."""
        try:
            found = await self._engine.inspect(run.name) or {}
        except (EngineAway, EngineError):
            return
        run.seen = run.seen._replace(image_id=str(found.get("Image", "")), created=str(found.get("Created", "")))

    async def stats(self, run: ContainerRun) -> dict[str, Any] | None:
        """What the daemon says that it uses. All who ask within a second get the same answer: it is no small thing to find out."""
        last = self._stats.get(run)
        if last is None or (last[1].done and boot_s() > last[0] + _STATS_S):
            last = self._stats[run] = boot_s(), Task(self._engine.stats(run.name))
        try:
            return await last[1]
        except (EngineAway, EngineError):
            return None

    def signal(self, run: ContainerRun, name: str) -> None:
        """Send a signal, soon; `_STOP`: the one that its image names."""
        run.asked = True
        _aside(self._signalled(run, name))

    async def _signalled(self, run: ContainerRun, name: str) -> None:
        try:
            if name == _STOP and not run.stop_signal:
                found = await self._engine.inspect(run.name) or {}
                run.stop_signal = (found.get("Config") or {}).get("StopSignal") or "SIGTERM"
            await self._engine.kill(run.name, name or run.stop_signal)
        except (EngineAway, EngineError) as error:
            _say(f"cannot send {name or 'its stop signal'} to container {run.name}: {error}")
            meter = self._meters.get(run)
            if name == "SIGKILL" and meter:
                meter.kill()

    # --- what it writes ---

    def _open_output(self, run: ContainerRun) -> None:
        launch = run.launch
        try:
            run.output = run.output or sink_of(self._place.logs, launch, run.part, wall_ms(), self._place.limits.log_mib * MIB)
        except OSError as error:
            raise CannotStart(f"CannotStartContainerError: {error.strerror or error} ({error.filename})") from error

    async def _read(self, run: ContainerRun, stream: Connection) -> None:
        frames = Demultiplexer()
        try:
            async for piece in stream.rest():
                began_s = boot_s()
                if run.output:
                    run.output.feed(frames.feed(piece), wall_ms())
                if len(piece) >= MUCH_BYTES:  # it writes faster than we read: others get their turn
                    rest_s = self._attention.begin_rest(boot_s() - began_s)
                    try:
                        await pause(self._loop, rest_s)
                    finally:
                        self._attention.end_rest()
        except EngineAway:
            return  # the loop that follows it finds out what that means
        finally:
            stream.close()

    def _finish_output(self, run: ContainerRun, note: str) -> None:
        if note and not run.output:
            try:
                self._open_output(run)
            except CannotStart as why:
                _say(f"no log stream for {run.name}: {why}")
        if run.output:
            run.output.finish(wall_ms(), note)
            run.output = None

    # --- what is left ---

    async def _clear(self, run: ContainerRun) -> None:
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
                _say(f"cannot remove container {run.name}: {error}")
            except EngineAway as error:
                if boot_s() < give_up_s:
                    await pause(self._loop, _AGAIN_S)
                    continue
                _say(f"container {run.name} is left behind: {error}")
            run.made = False

    async def _clear_late(self, run: ContainerRun) -> None:
        await pause(self._loop, LATE_S)
        run.made = True
        await self._clear(run)

    async def _clear_orphans(self) -> None:
        """Remove what earlier nodes of this name left, as soon as the daemon answers."""
        label = f"{mapping.NODE_LABEL}={self._around.node}"
        while True:
            try:
                for id in await self._engine.labelled(label):
                    await self._engine.remove(id)
                for volume in await self._engine.labelled_volumes(label):
                    await self._engine.remove_volume(volume)
            except (EngineAway, EngineError) as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    _say(f"containers of an earlier node cannot be looked for yet: {error}")
                await pause(self._loop, _AGAIN_S)
            else:
                return

    def _look(self) -> None:
        for run, meter in self._meters.items():
            meter.look()
            if run.output:
                run.output.tick(wall_ms())
        self._looking = bool(self._meters)
        if self._looking:
            self._loop.at(boot_s() + _LOOK_S, self._look)


def _aside(steps: Coroutine[Any, Any, None]) -> None:
    """Have it done, soon; a mistake of our own in it goes into the node's log."""
    task = Task(steps)

    def look() -> None:
        try:
            task.result()
        except Exception as error:  # noqa: BLE001 - not swallowed: nobody else waits for it
            _say("".join(traceback.format_exception(error)))

    task.then(look)


def _stamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _say(sentence: str) -> None:
    """Into the node's log."""
    print(sentence, flush=True)  # noqa: T201 - its log is its output
