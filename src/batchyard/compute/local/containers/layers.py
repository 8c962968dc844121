"""What containers write outside of what was bound into them: it lies with the daemon, and counts with the rest of what their attempt holds.

That is a container's own layer, the volumes that its image asks for, and files such as /etc/hosts, which the daemon makes for it. Where
the daemon keeps them on this machine and we are root, we look there ourselves (`local/layers.py`). Elsewhere the daemon is asked now and
then for what the layer holds, which it finds out by walking: seldom, and not while nobody has written on its disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batchyard.compute.local import knobs
from batchyard.compute.local.containers.disk import DaemonDisk
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.layers import Layers, Short
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import Task, pause

_FILES = ("HostsPath", "HostnamePath", "ResolvConfPath")
_RUNNING = "running"
_MIB = 1024 * 1024
_ASK_S, _ASK_AT_LEAST_S = 5.0, 300.0
_REST = 25  # so many times as long as the daemon took, it is not asked again


class ContainerLayers:
    """Those of one daemon's containers, counted in `layers`."""

    def __init__(
        self, engine: Engine, layers: Layers, loop: Loop, make_room: Callable[[Callable[[], bool]], bool] = lambda is_enough: False
    ) -> None:
        """`make_room`: see `Images.make_room`; asked before anybody is ended."""
        self._engine, self._layers, self._loop = engine, layers, loop
        self.disk = DaemonDisk(engine, loop)
        self._make_room = make_room
        layers.short = self._short
        self._known: set[str] = set()
        self._asked: dict[str, str] = {}  # the attempt of each container whose layer nobody here can look at
        self._asking: Task[None] | None = None

    def trouble(self) -> str:
        """Why no container should be started with this daemon now; "" if nothing speaks against it. Meanwhile room is made."""
        short = self.disk.short()
        if short:
            self._make_room(self._has_room)
        return short.why if short else ""

    def _short(self) -> Short | None:
        short = self.disk.short()
        return None if short is None or self._make_room(self._has_room) else short

    def _has_room(self) -> bool:
        return self.disk.short() is None

    def foresee(self, attempt: str, name: str, found: Mapping[str, Any]) -> None:
        """What Docker says of a container that it is about to start: its layer counts from now on, if all of it is known."""
        places, files = writable_places(found), self.disk.place_of(found["Id"])
        if places and files and name not in self._known:
            self._known.add(name)
            self._layers.add(attempt, name, [*places, files])

    def knows(self, name: str) -> bool:
        """Whether a container's layer is looked at by us."""
        return name in self._known and name not in self._asked

    def over(self, attempt: str, name: str) -> None:
        """A container that we know has ended."""
        self._layers.end(attempt, name)

    async def see(self, attempt: str, name: str, found: Mapping[str, Any]) -> None:
        """The daemon has just said this of a container (its inspection): from the first time on its layer counts."""
        if name not in self._known:
            self._known.add(name)
            places = writable_places(found)
            self._layers.add(attempt, name, places)
            if not places:
                self._asked[name] = attempt
                if self._asking is None or self._asking.done:
                    self._asking = Task(self._ask_on())
        if found["State"]["Status"] != _RUNNING:
            if name in self._asked:
                await self._ask(name)
            self._layers.end(attempt, name)

    def remove(self, attempt: str, name: str) -> None:
        """The container is gone, and what it wrote with it."""
        self._known.discard(name)
        self._asked.pop(name, None)
        self._layers.remove(attempt, name)

    async def _ask_on(self) -> None:
        """As long as there are such containers."""
        free: int | None = None
        last_s = 0.0
        while self._asked:
            now, began_s = self.disk.free_bytes(), boot_s()
            if now is None or free is None or now < free - _MIB or began_s > last_s + _ASK_AT_LEAST_S:
                free, last_s = now, began_s
                for name in list(self._asked):
                    await self._ask(name)
            await pause(self._loop, max(_ASK_S, (boot_s() - began_s) * _REST))

    async def _ask(self, name: str) -> None:
        try:
            held = await self._engine.layer_bytes(name)
        except (EngineAway, EngineError):
            return  # with the next look
        if held is not None and name in self._asked:
            self._layers.tell(self._asked[name], name, held)


def writable_places(found: Mapping[str, Any]) -> list[str]:
    """The directories of this machine where what a container writes lies with its daemon, by its inspection; [] if we cannot look there."""
    if os.geteuid() != 0:
        return []  # it would be found empty where users of the container closed it
    driver = (found.get("GraphDriver") or {}).get("Data") or {}
    upper = driver.get("UpperDir") or _upper_of(found["State"].get("Pid") or 0, found["Id"])
    if not upper or not os.path.isdir(upper):  # noqa: PTH112 - as the daemon says it
        return []
    volumes = [mount["Source"] for mount in found.get("Mounts") or () if mount.get("Type") == "volume" and mount.get("Source")]
    files = {os.path.dirname(found[key]) for key in _FILES if found["Id"] in (found.get(key) or "")}  # noqa: PTH120 - as above
    return [upper, *(place for place in (*volumes, *sorted(files)) if os.path.isdir(place))]  # noqa: PTH112 - as above


def _upper_of(pid: int, id: str) -> str:
    """The layer that a process of the container has as its root, for daemons that do not tell (Docker's containerd image store)."""
    if not pid or id not in knobs.read(Path(f"/proc/{pid}/cgroup")):
        return ""
    for line in knobs.read(Path(f"/proc/{pid}/mountinfo")).split("\n")[:-1]:
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[4] == "/" and source.startswith("overlay "):
            options = dict(option.partition("=")[::2] for option in source.rpartition(" ")[2].split(","))
            upper = options.get("upperdir", "")
            return upper if upper.startswith("/") else ""
    return ""
