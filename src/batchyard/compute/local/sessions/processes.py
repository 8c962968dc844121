"""A command beside a job that runs as a process: its user, its cage, the namespaces that it was started in, its environment.

Namespaces that a job makes by itself stay its own: nobody steps into what a job has arranged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchyard.compute.local import knobs
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.process import ProcessRunner
from batchyard.compute.local.process_run import ProcessRun
from batchyard.compute.local.sessions.channel import Channel
from batchyard.compute.local.sessions.messages import STDERR, STDOUT, Begin
from batchyard.compute.local.spawn import CannotStart, begun, leave_to_sibling, sentence, told_by

if TYPE_CHECKING:
    from batchyard.compute.local.bubbles import Bubble
    from batchyard.compute.local.sessions.listener import Client

# In the job's directory; whoever names a program without a slash means the PATH that the job has.
_IN_ITS_PLACE = ("/bin/sh", "-c", 'cd "$0" 2>/dev/null; exec "$@"')
_DRAIN_S = 0.3  # how long output is waited for that somebody still holds open after the command has ended
_GRACE_S = 5.0


class Job(NamedTuple):
    """Who a job is, as its first process shows it."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    environment: dict[str, str]


class _Spawn(NamedTuple):
    """What is to be started, and where."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    job: Job
    inside: list[int]  # its stdin, stdout and stderr
    has_terminal: bool
    gates: tuple[str, ...]  # of the job's cage
    bubble: Bubble | None


class ProcessSession:
    """See `listener.Session`. One such command."""

    def __init__(self, begin: Begin, client: Client, loop: Loop) -> None:
        self._begin, self._client, self._loop = begin, client, loop
        self._pid = 0
        self._code: int | None = None
        self._outputs: list[Channel] = []
        self._input: Channel | None = None
        self._terminal = -1

    def start(self, run: ProcessRun, runner: ProcessRunner) -> None:
        """Start it. CannotStart with the reason."""
        if not run.pid or run.slot is None:
            raise CannotStart("the job's container does not run")
        job = _job(run.pid)
        bubble = run.slot.bubble
        argv = (*_IN_ITS_PLACE, job.environment.get("PWD", "/"), *self._begin.command)
        environment = {**job.environment, "TERM": self._begin.term} if self._begin.has_terminal else job.environment
        if self._begin.has_terminal:
            ours, theirs = (bubble and bubble.terminal()) or os.openpty()
            self._terminal = ours
            self.resize(self._begin.rows, self._begin.columns)
            inside = [theirs, theirs, theirs]
        else:
            pipes = [os.pipe() for _ in range(3)]
            inside = [pipes[0][0], pipes[1][1], pipes[2][1]]
        try:
            self._pid = _started(_Spawn(argv, environment, job, inside, self._begin.has_terminal, run.slot.cage.gates(), bubble))
        except BaseException:
            for descriptor in {self._terminal} if self._begin.has_terminal else {pipes[0][1], pipes[1][0], pipes[2][0]}:
                os.close(descriptor)
            self._terminal = -1
            raise
        finally:
            for descriptor in set(inside):
                os.close(descriptor)
        runner.strangers[self._pid] = self._ended
        emptied = self._client.emptied
        if self._begin.has_terminal:
            self._input = Channel(self._loop, self._terminal, lambda content: self._client.told(STDOUT, content), self._settle, emptied)
            self._outputs = [self._input]
        else:
            self._input = Channel(self._loop, pipes[0][1], emptied=emptied)
            self._outputs = [
                Channel(self._loop, pipes[1][0], lambda content: self._client.told(STDOUT, content), self._settle),
                Channel(self._loop, pipes[2][0], lambda content: self._client.told(STDERR, content), self._settle),
            ]

    # --- from the client ---

    def feed(self, content: bytes) -> None:
        """For its stdin; b"" ends it."""
        if self._input is None:
            return
        if content:
            self._input.write(content)
        elif self._begin.has_terminal:
            self._input.write(b"\x04")
        else:
            self._input.finish(lambda _: self._input.close() if self._input else None)

    @property
    def is_full(self) -> bool:
        return self._input is not None and self._input.is_full

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pause(self, is_paused: bool) -> None:
        for output in self._outputs:
            output.pause(is_paused)

    def end(self) -> None:
        """The client has gone: so does the command, with all of its session."""
        if self._pid:
            self._signal(signal.SIGHUP)
            self._signal(signal.SIGCONT)
            self._loop.at(boot_s() + _GRACE_S, lambda: self._signal(signal.SIGKILL))
        self._close()

    def _signal(self, number: int) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    # --- its end ---

    def _ended(self, status: int) -> None:
        """Its first process was reaped."""
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        self._code = code if code >= 0 else 128 - code
        for output in self._outputs:
            output.pause(False)
        self._settle()
        if self._over_is_open():
            self._loop.at(boot_s() + _DRAIN_S, self._give_up_output)

    def _over_is_open(self) -> bool:
        return any(output.is_open for output in self._outputs)

    def _give_up_output(self) -> None:
        for output in self._outputs:
            output.drain()
        self._close()
        self._settle()

    def _settle(self) -> None:
        """Tell of the end once it has ended and all that it wrote was handed on."""
        if self._code is not None and not self._over_is_open():
            code, self._code = self._code, None
            self._close()
            self._client.over(code)

    def _close(self) -> None:
        for channel in (*self._outputs, *([self._input] if self._input else ())):
            channel.close()
        self._terminal = -1


def _job(pid: int) -> Job:
    """CannotStart if it has just ended."""
    try:
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines() if ":\t" in line
        )
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError as error:
        raise CannotStart(f"the job's container cannot be looked at: {error.strerror}") from error
    environment = dict(os.fsdecode(word).split("=", 1) for word in words if word.find(b"=") > 0)  # others cannot be handed on
    groups = tuple(int(group) for group in status.get("Groups", "").split())
    return Job(pid, int(status["Uid"].split()[0]), int(status["Gid"].split()[0]), groups, environment)


def _started(spawn: _Spawn) -> int:
    """Fork and execute: the process id. CannotStart with the reason."""
    bubble = None if spawn.bubble is None or spawn.bubble.needs_a_child else spawn.bubble
    reading, writing = os.pipe()
    try:
        try:
            if bubble:
                bubble.enter()
            pid = os.fork()
            if pid == 0:
                _become(spawn, writing)
        finally:
            if bubble:
                bubble.leave()
    except OSError as error:
        os.close(reading)
        raise CannotStart(f"the job's namespaces cannot be entered: {error.strerror}") from error
    finally:
        os.close(writing)
    return begun(pid, told_by(pid, reading))


def _become(spawn: _Spawn, failure: int) -> None:
    """The child's side: never returns."""
    job, inside, bubble = spawn.job, spawn.inside, spawn.bubble
    try:
        for gate in spawn.gates:
            if not knobs.write(Path(gate), "0"):
                raise OSError(0, f"the job's cgroup cannot be entered ({gate})")
        if bubble and bubble.needs_a_child:
            leave_to_sibling(bubble.join(), failure)
        os.setsid()
        if spawn.has_terminal:
            fcntl.ioctl(inside[0], termios.TIOCSCTTY, 0)
            if os.geteuid() == 0:
                os.fchown(inside[0], job.uid, job.gid)
        for number, descriptor in enumerate(inside):
            os.dup2(descriptor, number)
        for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(each, signal.SIG_DFL)
        if os.geteuid() == 0:
            os.setgroups(job.groups)
            os.setgid(job.gid)
            os.setuid(job.uid)
        os.execve(spawn.argv[0], spawn.argv, spawn.environment)
    except (OSError, ValueError) as error:
        os.write(failure, sentence(spawn.argv, error).encode("utf-8", "backslashreplace"))
    finally:
        os._exit(127)
