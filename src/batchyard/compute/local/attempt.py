"""One attempt on this machine: its directories, its environment, its process, its pipe, and what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from resource import struct_rusage
from typing import NamedTuple

from batchyard.compute.local import spawn
from batchyard.compute.local.cage import Usage
from batchyard.compute.local.instances import notice_path
from batchyard.compute.local.loop import Timer
from batchyard.compute.local.output import Output
from batchyard.compute.local.slots import Slot
from batchyard.compute.local.spawn import CannotStart, Order
from batchyard.compute.local.users import identity
from batchyard.compute.local.watched import MARKER
from batchyard.model.messages import AttemptEnded, Launch
from batchyard.store.logs import file_name

NODE_MARKER = "BATCHYARD_NODE"
READ_BYTES = 65536
_REASON_LENGTH = 255  # of container.reason in the Batch API


class Place(NamedTuple):
    """What attempts of one node have in common."""

    node: str  # the node's own name, a marker by which its processes are found
    work: str  # where the private directories are made
    logs: Path
    reserved: range
    allow_any_user: bool


class Attempt:
    """An attempt that is about to start, runs, or is being wound up."""

    __slots__ = (
        "cause",
        "exited_s",
        "kill_at_s",
        "launch",
        "output",
        "pid",
        "reading",
        "shared",
        "slot",
        "started_at_ms",
        "started_s",
        "status",
        "timers",
        "waited",
    )

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.pid = 0  # 0 before it is started and after its end was seen
        self.slot: Slot | None = None
        self.cause = "exited"
        self.kill_at_s: float | None = None  # set once it was asked to stop
        self.reading = -1
        self.output: Output | None = None
        self.shared = False  # it runs as a user that may have other processes here
        self.started_at_ms = 0
        self.started_s = 0.0
        self.exited_s = 0.0
        self.status = 0
        self.timers: list[Timer] = []
        self.waited: struct_rusage | None = None

    def start(self, slot: Slot, place: Place, now_ms: int, now_s: float) -> None:
        """Start the attempt's process. CannotStart with the reason; the log stream is there in any case where it can be."""
        launch = self.launch
        try:
            self.output = Output(place.logs, launch.account, launch.region, launch.log_group, launch.log_stream, now_ms)
            if not launch.command:
                raise CannotStart(
                    "CannotStartContainerError: no command specified: this environment starts processes and does not look into "
                    "images, so the job definition or the submission has to name the command"
                )
            who = identity(launch.user, slot.uid, place.reserved, place.allow_any_user)
            self.slot = slot
            self.shared = who is not None and who.shared
            home, temporary = slot.quarters.move_in(self._directory_name(), who)
            self.reading, writing = os.pipe()
            try:
                os.set_blocking(self.reading, False)
                order = Order(launch.command, self._environment(place, home, temporary), home, writing, who)
                if slot.gpus:
                    numbers = ",".join(str(number) for number in slot.gpus)
                    order.environment["NVIDIA_VISIBLE_DEVICES"] = order.environment["CUDA_VISIBLE_DEVICES"] = numbers
                self.pid = slot.cage.start(order, launch.needs)
            finally:
                os.close(writing)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise CannotStart(f"CannotStartContainerError: {error.strerror or error}{where}") from error
        self.started_at_ms, self.started_s = now_ms, now_s

    def _directory_name(self) -> str:
        name = self.launch.attempt
        plain = name.islower() and name.isascii() and name.replace("-", "").isalnum()
        return name if plain else file_name(name)

    def _environment(self, place: Place, home: str, temporary: str) -> dict[str, str]:
        """Exactly what the launch says, and what only the node knows. Nothing of our own environment."""
        launch = self.launch
        needs = launch.needs
        return {
            "PATH": spawn.DEFAULT_PATH,
            "HOME": home,
            "PWD": home,
            "TMPDIR": temporary,
            **launch.environment,
            MARKER: launch.attempt,
            NODE_MARKER: place.node,
            "BATCHYARD_VCPUS": f"{needs.vcpus:g}",
            "BATCHYARD_MEMORY_MIB": str(needs.memory_mib),
            "BATCHYARD_GPUS": str(needs.gpus),
            "BATCHYARD_SPOT_NOTICE_FILE": notice_path(place.work, launch.instance),
        }

    def read(self, now_ms: int) -> bool | None:
        """Take over what is in the pipe, at most one pipe full. False at its end, None if nothing is there now."""
        try:
            content = os.read(self.reading, READ_BYTES)
        except BlockingIOError:
            return None
        if content and self.output:
            self.output.feed(content, now_ms)
        return bool(content)

    def signal(self, number: int) -> None:
        """To the whole process group; one that is stopped is woken up, or the signal would wait for ever."""
        if self.pid:
            for each in (number, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, each)

    def close_pipe(self) -> None:
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1

    def finish_output(self, now_ms: int, note: str = "") -> None:
        """Close the log stream, with a line of our own if there is something to say."""
        if self.output:
            self.output.finish(now_ms, note)
            self.output = None

    def ended(self, usage: Usage | None) -> AttemptEnded:
        """The report of an attempt that ran. Its end is counted from its start on the boot clock, so that durations are true."""
        code = os.waitstatus_to_exitcode(self.status)
        lost = self.cause == "lost"
        return AttemptEnded(
            self.launch.attempt,
            self.started_at_ms + round((self.exited_s - self.started_s) * 1000),
            self.cause,
            exit_code=None if lost else (code if code >= 0 else 128 - code),
            oom=bool(usage and usage.oom) and not lost,
            peak_memory_mib=round(usage.peak_memory_mib, 2) if usage and usage.peak_memory_mib is not None else None,
            cpu_s=round(usage.cpu_s, 6) if usage and usage.cpu_s is not None else None,
            started_at_ms=self.started_at_ms,
        )

    def not_started(self, reason: str, now_ms: int) -> AttemptEnded:
        """The report of an attempt that could not be started."""
        return AttemptEnded(self.launch.attempt, now_ms, "not-started", reason=reason[:_REASON_LENGTH])
