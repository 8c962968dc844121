"""The seam between an attempt and the way its container runs: as a process of this machine, or in Docker or Podman.

The supervisor knows *what* is to run and why it ends (effects, time limits, hosts that are lost); a `Runner` knows *how* it runs. What
runs is described by a Launch: for a task of several containers, each container is a Launch of its own, made from the task's with its
command, environment, needs and log stream, and named by `name`.

    run = runner.prepare(launch, watcher, name)   nothing happens yet; `run` is how the container is spoken to from now on
    runner.begin(run)                             False: no room now, ask again later. Else exactly one of these follows, at once or
                                                  after a while (an image is pulled, a daemon is slow):
        watcher.began(run, at_ms, at_s)           it runs; later `watcher.ended(run, ending)`
        watcher.ended(run, ending)                it did not come to run: `ending.exit_code` is None, `ending.reason` says why
    run.terminate(), run.kill()                   ask it to end, make it end; before it has begun, both give it up. `ended` follows
                                                  in any case. Nothing happens to what has ended.

A runner calls its watcher from the node's one thread, `ended` exactly once, when nothing is left of the container but its record: its
processes are gone, its last line is in its log stream, what it used is counted. It never blocks: what takes long goes on while the
loop turns. It leaves no outcome behind when the node dies: before a new node reports anything, its runners end what is left
(`end_orphans`), and the attempts of it are reported as lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any, NamedTuple, Protocol

from batchyard.compute.local.cage import Usage
from batchyard.model.messages import Launch
from batchyard.model.task import ContainerEnd


class Ending(NamedTuple):
    """What came of a container. `exit_code` is the shell's view (128 + signal); None if it did not run or nobody knows."""

    exit_code: int | None
    at_s: float  # on the boot clock
    usage: Usage | None = None
    reason: str = ""  # why it could not be started, in the words of aws-batch.md 2.3
    lost: bool = False  # it ran, or may have run, and was lost: as with the death of its host there is no outcome
    containers: tuple[ContainerEnd, ...] = ()  # of a task of several containers: what came of each


class Run(Protocol):
    """One container, as it is spoken to."""

    @property
    def running(self) -> bool:
        """From `began` until its end was seen, which may be a moment before `ended` is told."""
        ...

    def terminate(self) -> None:
        """SIGTERM."""
        ...

    def kill(self) -> None:
        """SIGKILL to all of it."""
        ...


class About(NamedTuple):
    """What a runtime says of one of its containers; "" for what this runtime has no word for. Times as RFC 3339 writes them."""

    id: str = ""
    name: str = ""
    image_id: str = ""
    created: str = ""
    pull_started: str = ""
    pull_stopped: str = ""


class Single(Run, Protocol):
    """A run of a single container, as the endpoints inside of it show it."""

    @property
    def uid(self) -> int | None:
        """The user that its processes run as; None if that may be any."""
        ...

    def group_id(self) -> int:
        """The id of the cgroup of version 2 that it has to itself; 0 if it has none, or that cannot be told (yet)."""
        ...

    def pids(self) -> Collection[int] | None:
        """Its processes as the kernel has them now, if they live on the host's network; none where that cannot be told. None: not yet."""
        ...

    def addresses(self) -> Collection[str] | None:
        """The addresses of its own under which this machine sees it while it runs, none on the host's network. None: not known yet."""
        ...

    def about(self) -> Awaitable[About]:
        """What is known of it; who runs it may have to be asked first."""
        ...

    def stats(self) -> Awaitable[dict[str, Any] | None]:
        """What it uses, in the shape of Docker's ContainerStats; None if nobody can tell."""
        ...


class Watcher(Protocol):
    """Who is told what becomes of a container."""

    def began(self, run: Run, at_ms: int, at_s: float) -> None:
        """It runs, since this wall clock's and this boot clock's time."""
        ...

    def ended(self, run: Run, ending: Ending) -> None:
        """It is over, and nothing of it is left."""
        ...


class Runner(Protocol):
    """A way of running containers."""

    def prepare(self, launch: Launch, watcher: Watcher, name: str = "") -> Run:
        """What `begin` will start. `name` tells the containers of one attempt apart; "" where there is only one."""
        ...

    def begin(self, run: Run) -> bool:
        """Begin to start it; False if there is no room for it now. The intent to run it is on disk already."""
        ...

    def reap(self) -> None:
        """A child of the node has ended: take in those that are this runner's."""
        ...

    def end_orphans(self) -> int:
        """End what an earlier node left behind; how many are still there. Asked again and again until nobody is, or patience ends."""
        ...

    def busy(self) -> bool:
        """Whether something is still being cleared away that a node should not leave behind."""
        ...

    def close(self) -> None:
        """The node ends: nothing is running any more."""
        ...
