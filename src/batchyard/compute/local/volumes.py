"""The volumes that the containers of a task share: directories of this machine, made for the task and removed at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchyard.model.messages import Launch
from batchyard.store.logs import file_name

PREFIX = "BATCHYARD_VOLUME_"
_OPEN = 0o777  # as an emptyDir: containers of a task may be different users


def shared_volumes(launch: Launch) -> list[Mapping[str, Any]]:
    """The volumes of a task that have no path of their own on the host."""
    first = launch.containers[0].container if launch.containers else {}
    return [volume for volume in first.get("volumes") or () if not host_path(volume)]


def host_path(volume: Mapping[str, Any]) -> str:
    """The path on the host that a volume names, or ""."""
    return str((volume.get("host") or {}).get("sourcePath") or "")


def make(directory: str, launch: Launch, uid: int | None) -> dict[str, str]:
    """Make the shared volumes of a task below `directory`: their paths by name. OSError with the path in it."""
    made: dict[str, str] = {}
    for volume in shared_volumes(launch):
        path = f"{directory}/{file_name(str(volume['name']))}"
        _make(path, uid)
        made[str(volume["name"])] = path
    for container in launch.containers:
        for mount in container.container.get("mountPoints") or ():
            place = made.get(str(mount.get("sourceVolume")))
            below = str(mount.get("subPath") or "")
            if place and below:
                at = place
                for part in Path(below).parts:
                    at = f"{at}/{part}"
                    if not os.path.isdir(at):  # noqa: PTH112 - a string all the way
                        _make(at, uid)
    return made


def _make(path: str, uid: int | None) -> None:
    os.mkdir(path)  # noqa: PTH102 - a string all the way
    os.chmod(path, _OPEN)  # noqa: PTH101 - as above; not masked
    if uid is not None:
        os.chown(path, uid, uid)


def mounted(launch: Launch, volumes: Mapping[str, str]) -> Launch:
    """The launch of a container whose volumes all name a path: what a container runtime can bind."""
    properties = dict(launch.container)
    known: list[Mapping[str, Any]] = []
    points: list[Mapping[str, Any]] = []
    for number, (mount, path) in enumerate(_mounts(launch, volumes)):
        known.append({"name": f"v{number}", "host": {"sourcePath": path}})
        points.append({**{name: value for name, value in mount.items() if name != "subPath"}, "sourceVolume": f"v{number}"})
    return replace(launch, container={**properties, "volumes": known, "mountPoints": points})


def named(launch: Launch, volumes: Mapping[str, str]) -> Launch:
    """The launch of a process that is told by variables where its volumes lie: nothing can be mounted for it."""
    variables = {variable_of(str(mount["sourceVolume"])): path for mount, path in _mounts(launch, volumes)}
    return replace(launch, environment={**launch.environment, **variables})


def variable_of(volume: str) -> str:
    """The variable that holds a volume's directory: BATCHYARD_VOLUME_, and the name in capitals with _ for what is no letter or digit."""
    return PREFIX + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in volume).upper()


def _mounts(launch: Launch, volumes: Mapping[str, str]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """A container's mount points, each with the directory that it means."""
    paths = {str(volume["name"]): host_path(volume) for volume in launch.container.get("volumes") or () if volume.get("name")}
    paths.update(volumes)
    for mount in launch.container.get("mountPoints") or ():
        path = paths.get(str(mount.get("sourceVolume")))
        if path:
            yield mount, f"{path}/{mount['subPath']}" if mount.get("subPath") else path
