"""A container's part of the scratch space: directories of its attempt, bound as /scratch and /tmp, and as its volumes.

They lie in WORK/<attempt>, which is closed to everybody else: only who has them bound gets there.

    home            /scratch, shared by the containers of a task
    tmp, tmp-NAME   /tmp, each container's own
    volume-NAME     a volume without a sourcePath
    below-PATH      a volume whose sourcePath is below /scratch; it is seen below /scratch too. A directory of its own, so that no container
                    can put a link in its place before another one has it bound
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.layers import Layers
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.volumes import host_path
from batchyard.model.messages import Launch
from batchyard.store.logs import file_name

SCRATCH, TEMPORARY = "/scratch", "/tmp"  # within a container
CLOSED, _STICKY, _OPEN = 0o700, 0o1777, 0o777


class ContainerScratch:
    """Makes the directories of attempts that run in containers, and has them removed."""

    def __init__(self, work: str, allotments: Allotments, sweeper: Sweeper, *, is_given: bool) -> None:
        """`is_given`: whether containers get directories of it without asking; else what its attempt writes elsewhere only counts."""
        self._work, self._allotments, self._sweeper, self._is_given = work, allotments, sweeper, is_given

    @property
    def layers(self) -> Layers:
        """Where what attempts hold in layers of their containers is counted."""
        return self._allotments.layers

    def place(self, launch: Launch) -> str:
        """The attempt's directory."""
        return f"{self._work}/{file_name(launch.attempt)}"

    def open(self, launch: Launch) -> Launch:
        """Make what a single container needs: its launch, with all of it bound. OSError with the path in it."""
        place = self.place(launch)
        self._allotments.ground.make(place)
        self._allotments.open(launch.attempt, launch.needs, place)
        os.chmod(place, CLOSED)  # noqa: PTH101 - a string all the way
        return furnished(launch, place) if self._is_given else launch

    def close(self, launch: Launch) -> None:
        """Nobody writes there any more."""
        self._allotments.close(self.place(launch))

    def give_up(self, launch: Launch) -> None:
        """Have it removed."""
        self._allotments.give_up(self.place(launch), self._sweeper)


def furnished(launch: Launch, place: str, name: str = "") -> Launch:
    """The launch of a container (of a task, if it has a `name`) with its part of `place` bound into it; the directories are made."""
    container = launch.container
    sources = {str(volume["name"]): host_path(volume) for volume in container.get("volumes") or () if volume.get("name")}
    points: list[tuple[str, Mapping[str, Any]]] = []
    for point in container.get("mountPoints") or ():
        volume = str(point["sourceVolume"])
        points.append((_source(place, volume, sources[volume]), point))
    points += [(path, {"containerPath": target}) for path, target in _unasked(container, place, name)]
    points += list(_seen_below(points, sources, place))
    for path in {path for path, _ in points if path.startswith(f"{place}/")}:
        _make(path, _STICKY if posixpath.basename(path).startswith(("home", "tmp")) else _OPEN)
    volumes = [{"name": f"s{number}", "host": {"sourcePath": path}} for number, (path, _) in enumerate(points)]
    bound = [{**point, "sourceVolume": f"s{number}"} for number, (_, point) in enumerate(points)]
    return replace(launch, container={**container, "volumes": volumes, "mountPoints": bound})


def _source(place: str, volume: str, source: str) -> str:
    """The directory of this machine that a volume means."""
    if not source:
        return f"{place}/volume-{file_name(volume)}"
    below = None if source.startswith(f"{place}/") else _below_scratch(source)
    if below is None:
        return source
    return _part(place, below) if below else f"{place}/home"


def _part(place: str, below: str) -> str:
    """The directory of a volume below /scratch. No comma: Podman takes a mount apart at them."""
    return f"{place}/below-{file_name(below).replace(',', '@')}"


def _below_scratch(source: str) -> str | None:
    """What of a path lies below /scratch: "" for /scratch itself, None for what lies elsewhere."""
    plain = posixpath.normpath(source)
    return plain[len(SCRATCH) + 1 :] if plain == SCRATCH or plain.startswith(f"{SCRATCH}/") else None


def _unasked(container: Mapping[str, Any], place: str, name: str) -> Iterator[tuple[str, str]]:
    """What a container gets without asking: /scratch, and /tmp where its root can be written, unless it has something there already."""
    taken = {posixpath.normpath(str(point["containerPath"])) for point in container.get("mountPoints") or ()}
    taken |= {posixpath.normpath(str(each["containerPath"])) for each in (container.get("linuxParameters") or {}).get("tmpfs") or ()}
    if SCRATCH not in taken:
        yield f"{place}/home", SCRATCH
    if TEMPORARY not in taken and not container.get("readonlyRootFilesystem"):
        yield f"{place}/tmp-{file_name(name)}" if name else f"{place}/tmp", TEMPORARY


def _seen_below(
    points: list[tuple[str, Mapping[str, Any]]], sources: Mapping[str, str], place: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where the attempt's scratch is bound as a whole, what the definition names below it is seen below it."""
    taken = {posixpath.normpath(str(point["containerPath"])) for _, point in points}
    parts = {below: _part(place, below) for source in sources.values() if (below := _below_scratch(source))}
    bound = {path for path, _ in points}
    for path, point in points:
        if path == f"{place}/home" and not point.get("readOnly"):
            for below, part in sorted(parts.items()):
                target = posixpath.normpath(f"{point['containerPath']}/{below}")
                if part in bound and target not in taken:
                    yield part, {"containerPath": target}


def _make(path: str, mode: int) -> None:
    if not os.path.isdir(path):  # noqa: PTH112 - a string all the way
        os.mkdir(path)  # noqa: PTH102 - as above
        os.chmod(path, mode)  # noqa: PTH101 - as above; not masked
