"""One container that is a process of this machine: with a user, a cage, directories and a log stream of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from resource import struct_rusage
from typing import TYPE_CHECKING, Any, NamedTuple

from batchyard.compute.local import orphans, spawn
from batchyard.compute.local.cage import together
from batchyard.compute.local.instances import notice_path
from batchyard.compute.local.output import MIB, Sink, sink_of
from batchyard.compute.local.place import Place, of_needs
from batchyard.compute.local.runner import About, Watcher
from batchyard.compute.local.slots import Slot
from batchyard.compute.local.spawn import CannotStart, Order
from batchyard.compute.local.users import identity
from batchyard.compute.local.watched import MARKER
from batchyard.model.messages import Launch
from batchyard.store.logs import file_name

if TYPE_CHECKING:
    from batchyard.compute.local.bubbles import Bubble

READ_BYTES = 65536


class Household(NamedTuple):
    """What the containers of a task have in common where they are processes: a user, and the directory in which they all live."""

    uid: int | None
    directory: str


class ProcessRun:
    """See `runner.Single`. A process that is about to start, runs, or is being wound up."""

    __slots__ = (
        "launch",
        "left_some",
        "name",
        "output",
        "pid",
        "reading",
        "session",
        "shared",
        "slot",
        "status",
        "stopped_at_s",
        "uid",
        "waited",
        "watcher",
    )

    def __init__(self, launch: Launch, watcher: Watcher, name: str) -> None:
        self.launch = launch
        self.watcher = watcher
        self.name = name
        self.pid = 0  # 0 before it is started and after its end was seen
        self.session = 0  # the id that it had, which is its session's
        self.slot: Slot | None = None
        self.reading = -1
        self.output: Sink | None = None
        self.shared = False  # it runs as a user that may have other processes here
        self.uid: int | None = None  # that user; None: our own
        self.status = 0
        self.stopped_at_s = 0.0
        self.waited: struct_rusage | None = None
        self.left_some = False  # processes that had to be ended after its first one

    @property
    def running(self) -> bool:
        return bool(self.pid)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.pid:
            self.signal(signal.SIGKILL)
            if self.slot:
                self.slot.cage.end_all()

    def signal(self, number: int) -> None:
        """To the whole process group; one that is stopped is woken up, or any signal but SIGKILL would wait for ever."""
        if self.pid:
            for each in (number,) if number == signal.SIGKILL else (number, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, each)

    def account(self, waited: struct_rusage) -> None:
        """Count what one of its processes used that was waited for."""
        self.waited = together(self.waited, waited) if self.waited else waited

    def start(self, slot: Slot, place: Place, now_ms: int, household: Household | None) -> None:
        """Start the process. CannotStart with the reason; the log stream is there in any case where it can be.

        `household` is what it has in common with the other containers of its task.
        """
        task_uid = household.uid if household else None
        launch = self.launch
        try:
            self.output = sink_of(place.logs, launch, self.name, now_ms, place.limits.log_mib * MIB)
            if launch.runtime == "container":
                raise CannotStart("CannotStartContainerError: this node runs processes only: no Docker or Podman daemon was found")
            if not launch.command:
                raise CannotStart(
                    "CannotStartContainerError: no command specified: this environment starts processes and does not look into "
                    "images, so the job definition or the submission has to name the command"
                )
            who = identity(launch.user, slot.uid if task_uid is None else task_uid, place.reserved, place.allow_any_user)
            if task_uid is not None and who is not None:
                who = who._replace(shared=True)
            self.slot = slot
            self.shared, self.uid = who is not None and who.shared, who.uid if who else None
            if household:
                home, temporary = slot.quarters.move_inside(f"{household.directory}/in-{file_name(self.name)}", who)
            else:
                if slot.bubble:  # begun a moment ago, perhaps: bubblewrap must not miss the directories that are about to be renamed
                    with contextlib.suppress(CannotStart):
                        slot.bubble.finish()
                home, temporary = slot.quarters.move_in(launch.attempt, launch.needs, directory_name(launch.attempt), who)
            self.reading, writing = os.pipe()
            try:
                os.set_blocking(self.reading, False)
                inside = self._bubble(slot, place, home, household) if place.bubbles else None
                order = Order(launch.command, self._environment(place, home, temporary), home, writing, who, inside)
                if slot.gpus:
                    numbers = ",".join(str(number) for number in slot.gpus)
                    order.environment["NVIDIA_VISIBLE_DEVICES"] = order.environment["CUDA_VISIBLE_DEVICES"] = numbers
                self.pid = self.session = slot.cage.start(order, launch.needs)
            finally:
                os.close(writing)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise CannotStart(f"CannotStartContainerError: {error.strerror or error}{where}") from error

    def _bubble(self, slot: Slot, place: Place, home: str, household: Household | None) -> Bubble:
        """The namespaces for this job: those that the slot has, if they fit."""
        assert place.bubbles is not None
        shared = (f"{household.directory}/home",) if household else ()
        name = home.removeprefix(f"{place.work}/").removesuffix("/home")
        if slot.bubble and slot.quarters.are_new:
            slot.bubble.end()
            slot.bubble = None
        slot.bubble = place.bubbles.fitting(slot.bubble, self.launch, name, slot.gpus, shared)
        return slot.bubble

    def _environment(self, place: Place, home: str, temporary: str) -> dict[str, str]:
        """Exactly what the launch says, and what only the node knows. Nothing of our own environment."""
        launch = self.launch
        return {
            "PATH": spawn.DEFAULT_PATH,
            "HOME": home,
            "PWD": home,
            "TMPDIR": temporary,
            **(place.doors.environment_of(launch, self.name) if place.doors else {}),
            **launch.environment,
            MARKER: f"{launch.attempt}/{self.name}" if self.name else launch.attempt,
            orphans.NODE_MARKER: place.node,
            "BATCHYARD_SPOT_NOTICE_FILE": notice_path(place.work, launch.instance),
            **of_needs(launch),
        }

    def group_id(self) -> int:
        return self.slot.cage.group_id() if self.pid and self.slot else 0

    def pids(self) -> list[int]:
        return self.slot.cage.members() if self.pid and self.slot else []

    def addresses(self) -> tuple[str, ...]:
        return ()

    async def about(self) -> About:
        """Nothing that others would not know: it has neither an image nor a daemon."""
        return About()

    async def stats(self) -> dict[str, Any] | None:
        """What its cage counts, in Docker's shape; None without a cage of the kernel's."""
        from batchyard.compute.local.doors import stats

        if not self.pid or self.slot is None:
            return None
        return stats.of_process(self.pid, self.name or self.launch.attempt, self.slot.cage.cpu_before_ns)

    def read(self, now_ms: int) -> int | None:
        """Take over what is in the pipe, at most READ_BYTES: how many there were. 0 at its end, None if nothing is there now."""
        try:
            content = os.read(self.reading, READ_BYTES)
        except BlockingIOError:
            return None
        if content and self.output:
            self.output.feed(content, now_ms)
        return len(content)

    def close_pipe(self) -> None:
        """Read its output no more."""
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1

    def finish_output(self, now_ms: int, note: str = "") -> None:
        """Close the log stream, with a line of our own if there is something to say."""
        if self.output:
            self.output.finish(now_ms, note)
            self.output = None


def directory_name(attempt: str) -> str:
    """What an attempt's directory is called."""
    plain = attempt.islower() and attempt.isascii() and attempt.replace("-", "").isalnum()
    return attempt if plain else file_name(attempt)
