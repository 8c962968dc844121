"""Puts a node's container runtime together, from its options and from what this machine is."""

from __future__ import annotations

import resource
from pathlib import Path

from batchyard.compute.local import proc
from batchyard.compute.local.containers.cache import FILE, ImageCache
from batchyard.compute.local.containers.engine import Engine
from batchyard.compute.local.containers.images import Images
from batchyard.compute.local.containers.layers import ContainerLayers
from batchyard.compute.local.containers.mapping import Surroundings
from batchyard.compute.local.containers.meter import Groups
from batchyard.compute.local.containers.runner import ContainerRunner
from batchyard.compute.local.containers.scratch import ContainerScratch
from batchyard.compute.local.journal import Journal
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.node_log import say
from batchyard.compute.local.place import Place
from batchyard.compute.local.slots import Gpus

_MODEST = 16384  # what may be granted where the limits of processes cannot be raised


def container_runner(
    socket: str,
    pull: str,
    network: str,
    cache_gib: float | None,
    place: Place,
    gpus: Gpus,
    journal: Journal,
    loop: Loop,
    scratch: ContainerScratch,
) -> ContainerRunner:
    """The runtime over the daemon behind `socket`. It does not have to answer yet. `cache_gib` bounds the images that it pulls."""
    engine = Engine(loop, socket)
    cache = ImageCache(engine, cache_gib, place.logs.parent / FILE, say)
    around = Surroundings(
        node=place.node,
        network=network,
        hard_cpus=place.limits.hard_cpus,
        pids=place.limits.pids,
        swappiness=Groups().version == 1,
        default_ulimits=_modest_limits(),
        notices=f"{place.work}/notices" if Path(f"{place.work}/notices").is_dir() else "",
        work=place.work,
    )
    images = Images(engine, pull, cache, loop)
    layers = ContainerLayers(engine, scratch.layers, loop, images.make_room)
    return ContainerRunner(engine, images, around, place, gpus, journal, loop, scratch, layers)


def _modest_limits() -> tuple[tuple[str, int], ...]:
    """Podman gives containers limits of a million, which fails where nobody may raise limits (no CAP_SYS_RESOURCE): then modest ones."""
    if proc.is_capable(proc.CAP_SYS_RESOURCE):
        return ()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MODEST if most == resource.RLIM_INFINITY else min(most, _MODEST)
    return (("nofile", files), ("nproc", _MODEST))
