"""One container of an attempt: what is known of it, and what can be asked of it while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from batchyard.compute.local.containers import mapping
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.meter import Meter
from batchyard.compute.local.containers.output import Output
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.loop import boot_s
from batchyard.compute.local.node_log import say
from batchyard.compute.local.runner import About, Watcher
from batchyard.compute.local.tasks import Task, aside
from batchyard.model.messages import Launch

_STATS_S = 1.0
_STOP = ""  # the signal by which a container says that it wants to be asked to end


class ContainerRun:
    """See `runner.Single`. Nothing happens to it by itself: its runner gives it its `life`."""

    def __init__(
        self, engine: Engine, meter: Meter, output: Output, launch: Launch, watcher: Watcher, name: str, has_own_network: bool = False
    ) -> None:
        """`has_own_network`: it is not on the host's."""
        self.launch = launch
        self.watcher = watcher
        self.name = mapping.container_name(launch, name)
        self.part = name  # of its task; "" where there is only one
        self.seen = About(name=self.name)
        self.uid: int | None = None  # its processes may be any user
        self.running = False
        self.id = ""
        self.made = False  # the daemon was asked to make it
        self.making: Task[Any] | None = None  # the request, which goes on when the run is given up
        self.gpus: tuple[int, ...] = ()
        self.meter, self.output = meter, output
        self.life: Task[None] | None = None
        self.asked = False  # to end
        self.gone = False  # the daemon has lost it
        self.is_furnished = False  # directories of the attempt were made for it
        self.settled = False  # what came of it is known, or it was given up: nothing can be asked of it any more
        self._engine = engine
        self.has_own_network = has_own_network
        self._addresses: frozenset[str] | None = None  # of its own; None: the daemon has not said yet
        self._stop_signal = ""  # its image's; the daemon is asked when it is needed
        self._stats: tuple[float, Task[dict[str, Any] | None]] | None = None

    # --- to end ---

    def terminate(self) -> None:
        self._end(_STOP)

    def kill(self) -> None:
        self._end("SIGKILL")

    def _end(self, signal: str) -> None:
        if self.running:
            self.asked = True
            aside(self._signalled(signal))
        elif self.life and not self.settled:
            self.settled = True
            self.life.cancel()

    async def _signalled(self, name: str) -> None:
        """Send it a signal; `_STOP`: the one that its image names."""
        try:
            if name == _STOP and not self._stop_signal:
                found = await self._engine.inspect(self.name) or {}
                self._stop_signal = (found.get("Config") or {}).get("StopSignal") or "SIGTERM"
            await self._engine.kill(self.name, name or self._stop_signal)
        except (EngineAway, EngineError) as error:
            say(f"cannot send {name or 'its stop signal'} to container {self.name}: {error}")
            if name == "SIGKILL":
                self.meter.kill()

    # --- to tell of itself ---

    def note_addresses(self, found: Mapping[str, Any]) -> None:
        """Take in from what the daemon says of it which addresses it has. It runs, as far as the daemon knows."""
        self._addresses = mapping.addresses(found)

    @property
    def _is_starting(self) -> bool:
        return self._addresses is None and bool(self.id) and not self.settled

    def group_id(self) -> int:
        return self.meter.group_id

    def pids(self) -> list[int] | None:
        if self.has_own_network:
            return []
        return None if self._is_starting else self.meter.pids()

    def addresses(self) -> frozenset[str] | None:
        """Only while its first process lives: afterwards another may be given them."""
        if not self.has_own_network:
            return frozenset()
        if self._is_starting:
            return None
        return self._addresses if self._addresses and self.meter.lives else frozenset()

    async def about(self) -> About:
        """What only the daemon knows of it is asked once; nothing comes of it while the daemon is away."""
        if self.id and not self.settled and not self.seen.image_id:
            with contextlib.suppress(EngineAway, EngineError):
                found = await self._engine.inspect(self.name) or {}
                self.seen = self.seen._replace(image_id=str(found.get("Image", "")), created=str(found.get("Created", "")))
        return self.seen._replace(id=self.id)

    async def stats(self) -> dict[str, Any] | None:
        """What the daemon says that it uses. All who ask within a second get the same answer: it is no small thing to find out."""
        if not self.id or self.settled:
            return None
        if self._stats is None or (self._stats[1].done and boot_s() > self._stats[0] + _STATS_S):
            self._stats = boot_s(), Task(self._engine.stats(self.name))
        try:
            return await self._stats[1]
        except (EngineAway, EngineError):
            return None
