"""Namespaces that bubblewrap makes and that the node starts jobs in (docs/decisions/0039-what-a-job-sees-of-its-machine.md).

bubblewrap takes some milliseconds, and as the parent of a job it would stand between the job and us: its exit code, its signals, the
reason why it could not be started. So a slot keeps its *bubble*, held by a process that does nothing. To start a job, the node's
thread steps into the bubble, as it steps into the slot's cgroup, spawns, and steps out: the job is our own child. A bubble that a job
left as it found it, in memory and in the slot's directories, is used again; after any other the next one is begun while the slot rests.

Without root we could not step out of a user namespace again. There a child steps in, forks the job as a child of ours, and ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

from batchyard.compute.local import bubble, proc
from batchyard.compute.local.bubble import View
from batchyard.compute.local.spawn import CannotStart
from batchyard.model.messages import Launch

_USER = 0x10000000
_SPACES = {"ipc": 0x08000000, "uts": 0x04000000, "pid": 0x20000000, "mnt": 0x00020000}  # in the order in which they are entered
_LEFT_IN_MEMORY = ("shm", "msg", "sem")  # of System V: in /proc/sysvipc, a headline and a line for each
_SPECIAL = ("volumes", "pidMode", "ipcMode")  # what a job can ask for that may make its view another one
_TRIES = 5
_GET_OWNER = 0xB701  # NS_GET_USERNS of ioctl_ns(2)
_UNLOCK_TERMINAL, _GET_PEER = 0x40045431, 0x5441  # TIOCSPTLCK and TIOCGPTPEER of ioctl_tty(2)
_CLONE3 = 435  # the same number on every processor that Linux was brought to before 2019
_CLONE_PARENT = 0x00008000
_READY_S = 20.0  # far beyond what it takes: only a machine in trouble needs so long
_GONE_S = 5.0
_INFO_END = b"}"


class Lost(RuntimeError):
    """The node cannot get out of a job's namespaces: it has to die rather than see the machine with a job's eyes."""


class Outside:
    """Our own namespaces, to come back to."""

    def __init__(self) -> None:
        self._spaces = [(_opened(f"/proc/self/ns/{kind}"), number) for kind, number in reversed(_SPACES.items())]
        self._going: list[int] = []  # first processes that were killed, by pidfd

    def come_back(self) -> None:
        """Lost if that fails."""
        try:
            _enter(self._spaces)
        except OSError as error:
            raise Lost(f"cannot leave a job's namespaces: {error}") from error

    def note_going(self, first: int) -> None:
        """Somebody's first process is on its way out."""
        for gone in [each for each in self._going if _says(each, 0)]:
            self._going.remove(gone)
            os.close(gone)
        self._going.append(first)

    def wait(self) -> None:
        """Until the last of them has gone, and with it all that was mounted there, but not for ever."""
        for first in self._going:
            _says(first, _GONE_S)
            os.close(first)
        self._going = []


class Bubble:
    """One set of namespaces, from when it is made until `end`."""

    def __init__(self, bwrap: str, view: View, outside: Outside, marker: dict[str, str], is_plain: bool = False, changes: int = 0) -> None:
        """Begin to make it: `finish` has to follow before it is used, and before its directories are renamed. CannotStart as there.

        `marker`: the environment by which its processes are known as ours; `is_plain`: it is like those of other jobs; `changes`: how often
        this machine's mounts had changed before.
        """
        self._outside, self.is_plain, self.changes = outside, is_plain, changes
        self._bwrap, self._view, self._marker = bwrap, view, marker
        self._work, self._own_processes, self._own_memory, self.needs_a_child = view.work, view.own_processes, view.own_memory, view.as_user
        self._name = self._outer_name = view.name  # of its directories, as they are called inside, and outside
        self._spaces: list[tuple[int, int]] = []
        self._users: list[int] = []
        self._memory: list[tuple[int, list[str]]] = []  # directories of what is in memory, with what is there for each job
        self._memory_counts: list[int] = []
        self._first = self._life = self._io = self._told = self._maker = -1
        self.first_pid = 0
        self._inherited = b"", (0, 0)
        try:
            self._begin()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def finish(self) -> None:
        """Wait until all is mounted; nothing happens if that was so before. CannotStart, in bubblewrap's words, if it cannot be made."""
        if self._told < 0:
            return
        try:
            self.first_pid = self._made_at_last()
            self._hold()
            self.inherited_bytes()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> NoReturn:
        self.end()
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotStart(f"CannotStartContainerError: bubblewrap: {why}"[:255]) from error

    def _made_at_last(self) -> int:
        """bubblewrap gives up when something is unmounted while it looks at what is mounted: then it has to be run again."""
        for _ in range(_TRIES - 1):
            with suppress(ValueError):
                return self._made()
            os.close(self._life)
            self._life = -1
            self._begin()
        return self._made()

    def _begin(self) -> None:
        """Run bubblewrap, which goes on by itself.

        It has a reader of what it tells among its own descriptors: if we end, or give it up, it must not die of that before it has let its
        first process go on, which would wait for ever.
        """
        self._told, telling = os.pipe()
        waits, self._life = os.pipe()
        kept = [(os.POSIX_SPAWN_DUP2, self._told, self._told)] if self._told > bubble.INFO else []
        try:
            pid = os.posix_spawn(
                self._bwrap,
                bubble.arguments(self._bwrap, self._view),
                {"PATH": "/usr/bin:/bin", **self._marker},
                file_actions=[
                    *kept,
                    (os.POSIX_SPAWN_DUP2, waits, 0),
                    *((os.POSIX_SPAWN_DUP2, telling, number) for number in (1, 2, bubble.INFO)),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
            )
        finally:
            os.close(waits)
            os.close(telling)
        self._maker = os.pidfd_open(pid)

    def _made(self) -> int:
        """Until all is mounted: the first process inside. ValueError if it gave up, TimeoutError if it is at it still."""
        told, self._told = self._told, -1
        try:
            answer = _until_ready(told)
        except ValueError:
            self._forget_maker()
            raise
        finally:
            os.close(told)
        self._forget_maker()
        return _first_pid(answer)

    def _forget_maker(self) -> None:
        """It has made what it was to make, or has ended."""
        os.close(self._maker)
        self._maker = -1

    def _hold(self) -> None:
        self._first = os.pidfd_open(self.first_pid)
        own = {"pid": self._own_processes, "ipc": self._own_memory}
        for kind, number in _SPACES.items():
            if own.get(kind, True):
                self._spaces.append((_opened(f"/proc/{self.first_pid}/ns/{kind}"), number))
        self._io = _opened(f"/proc/{self.first_pid}/io")
        if self.needs_a_child:  # bubblewrap makes two: one that owns the others, and in it one with our user's own id
            self._users = [fcntl.ioctl(self._spaces[-1][0], _GET_OWNER), _opened(f"/proc/{self.first_pid}/ns/user")]
        elif self.is_plain:
            places = (bubble.SHM, bubble.QUEUES) if bubble.has_queues() else (bubble.SHM,)
            for place in places:
                descriptor = _opened(f"/proc/{self.first_pid}/root{place}")
                self._memory.append((descriptor, os.listdir(descriptor)))  # noqa: PTH208 - a descriptor, not a path
            try:
                _enter(self._spaces)
                self._memory_counts = [_opened(f"/proc/sysvipc/{kind}") for kind in _LEFT_IN_MEMORY]
            finally:
                self._outside.come_back()

    @property
    def stands(self) -> bool:
        """Whether its first process lives: without it nothing can be started in there."""
        return self._first >= 0 and not _says(self._first, 0)

    @property
    def is_untouched(self) -> bool:
        """Whether the last job left nothing in memory here. To be asked of plain ones only."""
        if any(os.pread(count, 4096, 0).count(b"\n") > 1 for count in self._memory_counts):
            return False
        return all(os.listdir(place) == there for place, there in self._memory)  # noqa: PTH208 - descriptors, not paths

    def call(self, name: str) -> None:
        """Its directories are WORK/`name` from the next start on, outside they are already."""
        self._outer_name = name

    def enter(self) -> None:
        """What is spawned from now on lives inside, until we `leave`: that has to follow even if this fails. OSError: we cannot step in."""
        _enter(self._spaces)
        if self._name != self._outer_name:
            os.rename(f"{self._work}/{self._name}", f"{self._work}/{self._outer_name}")  # noqa: PTH104 - at every start
            self._name = self._outer_name

    def leave(self) -> None:
        """Step out again. Lost if that fails."""
        self._outside.come_back()

    def join(self) -> int:
        """In a child of ours: step in for good and fork. 0 in the job to be, which is our sibling; its process id in the child."""
        owner, own = self._users
        _enter([(owner, _USER), *self._spaces])
        if not os.path.sameopenfile(owner, own):
            _enter([(own, _USER)])
        return _fork_sibling()

    def terminal(self) -> tuple[int, int] | None:
        """A terminal that has a name inside, and its other side: as `os.openpty` makes one that has a name outside. None: not to be had."""
        ours = -1
        try:
            ours = os.open(f"/proc/{self.first_pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            fcntl.ioctl(ours, _UNLOCK_TERMINAL, struct.pack("i", 0))
            return ours, fcntl.ioctl(ours, _GET_PEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            if ours >= 0:
                os.close(ours)
            return None

    def inherited_bytes(self) -> tuple[int, int]:
        """What jobs' orphans had read from storage and written to it who have ended since this was last asked: they end as its child."""
        last, (read, written) = self._inherited
        try:
            told = os.pread(self._io, 4096, 0)
        except OSError:  # it is gone
            return 0, 0
        if told == last:
            return 0, 0
        now = proc.storage_counts(told)
        self._inherited = told, now
        return now[0] - read, now[1] - written

    def kill(self) -> None:
        """Everybody in it dies, if it has processes of its own. Does not wait for it."""
        if self._first >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)

    def end(self) -> None:
        """Kill, and let go of what it mounted. Does not wait for it: see `Outside.wait`."""
        self.kill()
        if self._maker >= 0:  # it is not there yet: its first process sees in the end that nobody holds on to it
            self._outside.note_going(self._maker)
            self._maker = -1
        if self._first >= 0:
            self._outside.note_going(self._first)
        held = (
            *(space for space, _ in self._spaces),
            *self._users,
            *(place for place, _ in self._memory),
            *self._memory_counts,
            self._life,
            self._io,
            self._told,
        )
        for descriptor in held:
            if descriptor >= 0:
                os.close(descriptor)
        self._spaces, self._users, self._memory, self._memory_counts = [], [], [], []
        self._first = self._life = self._io = self._told = -1


def _says(descriptor: int, within_s: float) -> bool:
    """Whether there is something to read, or a process has ended. Not by `select`, which knows the first thousand descriptors only."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _opened(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _until_ready(descriptor: int) -> bytes:
    """What bubblewrap tells until all is mounted. ValueError with its words if it gives up, TimeoutError if it never comes to that."""
    told = b""
    while not told.endswith(bubble.READY):
        if not _says(descriptor, _READY_S):
            raise TimeoutError(f"nothing was mounted within {_READY_S:g} s")
        read = os.read(descriptor, 4096)
        if not read:
            raise ValueError(_complaint(told))
        told += read
    return told


def _complaint(told: bytes) -> str:
    """Its words of what it told."""
    lines = [line for line in told.decode("utf-8", "replace").splitlines() if line.startswith("bwrap:")]
    return lines[-1].removeprefix("bwrap:").strip() if lines else "it ended before anything was mounted"


def _first_pid(told: bytes) -> int:
    about, end, _ = told.partition(_INFO_END)
    return int(json.loads(about + end)["child-pid"])


def _enter(spaces: Iterable[tuple[int, int]]) -> None:
    setns = _libc().setns
    for descriptor, number in spaces:
        if setns(descriptor, number) < 0:
            _checked(-1)


def _fork_sibling() -> int:
    """Fork a child of our parent's: 0 in it, its id in us. It belongs to the process namespace that was entered last."""
    arguments = struct.pack("=8Q", _CLONE_PARENT, 0, 0, 0, 0, 0, 0, 0)
    pid: int = _libc().syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_size_t(len(arguments)))
    _checked(pid)
    return pid


def _checked(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> Any:
    """The C library; it keeps the interpreter's lock across calls, so that a forked child wakes up holding it."""
    global _loaded
    if _loaded is None:
        _loaded = ctypes.PyDLL(None, use_errno=True)
        _loaded.syscall.restype = ctypes.c_long
    return _loaded


_loaded: Any = None


# --- of a node ---


class Bubbles:
    """Makes the bubbles of a node."""

    def __init__(self, bwrap: str, directory: str, work: str, exposed: tuple[str, ...], marker: dict[str, str], kept: bool) -> None:
        """`directory` is hidden, `work` too but for a job's own part, `exposed` is seen although it lies below /tmp.

        `kept`: jobs are users of their own, who can change nothing in a bubble that the next one would see.
        """
        self._bwrap, self._marker, self._kept = bwrap, marker, kept
        self._as_user = os.geteuid() != 0
        self._seen = bubble.kept_visible(directory, exposed)
        self._plain = View(os.path.realpath(directory), os.path.realpath(work), "", seen=self._seen, as_user=self._as_user)
        self._outside = Outside()
        self.mounts = _opened("/proc/self/mountinfo")  # becomes urgent when they change
        self._changes = 0
        below = [self._plain.hidden, self._plain.work, *self._seen]
        self.furniture = frozenset(  # what stands in a job's own tmp because something is seen below it
            path.removeprefix(f"{private}/").split("/")[0] for private in bubble.PRIVATE for path in below if path.startswith(f"{private}/")
        )

    def plain(self, name: str) -> View:
        """What a job sees that asks for nothing special."""
        return self._plain._replace(name=name)

    def _view(self, launch: Launch, name: str, gpus: tuple[int, ...], shared: tuple[str, ...]) -> View:
        """What the job of a launch sees. `shared`: the directories that it has in common with its task."""
        modes = launch.container.get
        return self._plain._replace(
            name=name,
            shared=shared,
            devices=bubble.of_gpus(gpus),
            seen=tuple(sorted({*self._seen, *bubble.of_volumes(launch)})),
            own_processes=not modes("pidMode"),
            own_memory=modes("ipcMode") not in ("host", "task"),
        )

    def fitting(self, held: Bubble | None, launch: Launch, name: str, gpus: tuple[int, ...] = (), shared: tuple[str, ...] = ()) -> Bubble:
        """The bubble that a slot holds, if it is right for this job too, or else a new one. CannotStart with the reason.

        `held` was made for the directories that are called WORK/`name` now. `shared`: the directories that it has in common with its task.
        """
        special = self._view(launch, name, gpus, shared) if gpus or shared or any(map(launch.container.get, _SPECIAL)) else None
        is_plain = special is None or special == self.plain(name)
        if held:
            if is_plain and held.changes == self._changes and self._is_ready(held):  # what is held is plain
                held.call(name)
                return held
            held.end()
        made = Bubble(self._bwrap, special or self.plain(name), self._outside, self._marker, is_plain and self._kept, self._changes)
        made.finish()
        return made

    def _is_ready(self, held: Bubble) -> bool:
        """Whether a job can be started in it; one that was begun ahead of need may have come to nothing."""
        with suppress(CannotStart):
            held.finish()
        return held.stands

    def spare(self, name: str) -> Bubble | None:
        """One for the next job, begun ahead of need, whose directories are called WORK/`name` until then; None where none is kept."""
        if not self._kept:
            return None
        with suppress(CannotStart):  # the job that comes to need one is told, if it fails again
            return Bubble(self._bwrap, self.plain(name), self._outside, self._marker, is_plain=True, changes=self._changes)
        return None

    def trial(self, name: str) -> Bubble:
        """One for a job that asks for nothing special."""
        made = Bubble(self._bwrap, self.plain(name), self._outside, self._marker, is_plain=True)
        made.finish()
        return made

    def let_go(self, held: Iterable[Bubble]) -> None:
        """End those that are held, and wait until nothing of any is left."""
        for each in held:
            with suppress(CannotStart):
                each.finish()
            each.end()
        self._outside.wait()

    def can_be_kept(self, bubble: Bubble) -> bool:
        """Whether another job of the same user can have it after one that left its directories untouched."""
        return bubble.is_plain and bubble.changes == self._changes and bubble.is_untouched

    def note_change(self) -> None:
        """The mounts of this machine have changed: what was made before is not used again."""
        self._changes += 1
