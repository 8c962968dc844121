"""The ground under the jobs of a node: it has the scratch space made, watched and mended by a process, and knows how it is.

That process (`batchyard.scratch.watcher`) is started again at once when it dies; jobs do not notice. What the node tells the engine
follows from what the watcher writes down. A plain directory needs nobody to watch it: there is nothing to make or to grow.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from batchyard.compute.local import host, knobs
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.scratch_shares import promisable_bytes, usable_bytes
from batchyard.model.messages import ScratchSeen
from batchyard.scratch.watching import FAILED, FREE, HELD, MOUNTED, RETIRE, STATUS, Orders, Status

AUTO, BTRFS, XFS, DIRECTORY = "auto", "loop-btrfs", "loop-xfs", "directory"
KINDS = (AUTO, BTRFS, XFS, DIRECTORY)
SERVED = "served.json"  # in the store: what this node made of it
_MKFS = {BTRFS: "mkfs.btrfs", XFS: "mkfs.xfs"}
_WORTH_IT_BYTES = 1024**3  # with a smaller cap than this, `auto` takes a plain directory
_CAP_SYS_ADMIN = 21
_MIB = 1024 * 1024
_LOOK_S = 1.0
_SILENT_S, _HUNG_S = 15.0, 60.0  # so long without a word: not healthy; ended and started again
_AGAIN_FIRST_S, _AGAIN_LAST_S = 0.1, 30.0
_RETIRE_S = 90.0
_TIGHT_BYTES = 4 * 1024**3  # with less free than this a writer may fill it before another watcher is there
_HOLD_AGAIN_S = 0.02  # the guard of a watcher that has died lets writers go, once
_HOLD_MOST_S = 15.0
_PART_TOLD = 100  # a change is told of when it is a hundredth of all


if TYPE_CHECKING:
    from batchyard.scratch.freezer import JobsFreezer


class Wanted(NamedTuple):
    """What the operator decided."""

    kind: str
    cap_bytes: int
    initial_bytes: int


class Served(Struct, frozen=True):
    """The file SERVED, for people: what is under the jobs now. `passed_over` says why `auto` did not take what it would rather have."""

    kind: str
    place: str
    is_ready: bool
    why_not: str
    cap_bytes: int
    capacity_bytes: int
    passed_over: str
    node_pid: int


def candidates(wanted: Wanted) -> list[str]:
    """The back ends to try, best first. What was named is taken, or nothing; `auto` falls back as far as a plain directory."""
    if wanted.kind != AUTO:
        return [wanted.kind]
    if os.geteuid() != 0 or wanted.cap_bytes < _WORTH_IT_BYTES or not Path("/dev/loop-control").exists() or not _may_mount():
        return [DIRECTORY]
    known = knobs.read(Path("/proc/filesystems")).split()
    return [*(kind for kind, mkfs in _MKFS.items() if kind.removeprefix("loop-") in known and shutil.which(mkfs)), DIRECTORY]


def _may_mount() -> bool:
    for line in knobs.read(Path("/proc/self/status")).splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> _CAP_SYS_ADMIN & 1)
    return False


class Scratching:
    """The scratch space of one node, mounted at `work`; its volumes are in `store`."""

    def __init__(
        self,
        wanted: Wanted,
        work: Path,
        store: Path,
        loop: Loop,
        *,
        on_mounted: Callable[[str], None],
        on_change: Callable[[], None],
        promised_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        """`on_mounted` is told the kind, once, before any job may write; `promised_bytes`: what jobs with a promise hold now."""
        self._wanted, self._work, self._store, self._loop = wanted, work, store, loop
        self._on_mounted, self._on_change, self._promised_bytes = on_mounted, on_change, promised_bytes
        self._kinds = candidates(wanted)
        self._passed_over = ""
        self._jobs = ""
        self._pid = 0
        self._from = self._to = -1
        self._line = b""
        self._failures = 0
        self._failure = ""
        self._started_s = 0.0
        self._ending = False
        self.is_mounted = False  # jobs have been let in: from now on the back end stays what it is
        self._is_up = False  # the watcher says so
        self._status: Status | None = None
        self._status_mark = 0
        self._why_not = "the scratch space is being made ready"
        self._told: ScratchSeen | None = None
        self._unwatched_s: float | None = None  # since when nobody has watched
        self._is_holding = False

    @property
    def kind(self) -> str:
        """The back end in use, or being tried."""
        return self._kinds[0]

    @property
    def is_ready(self) -> bool:
        """Whether jobs may be started."""
        return self.is_mounted and not self._why_not and not self._is_holding

    @property
    def room_bytes(self) -> int:
        """What jobs may hold together, as far as it is set; 0: as much as there is."""
        return usable_bytes(self.kind, self._wanted.cap_bytes)

    def start(self, jobs: str = "") -> None:
        """Begin; nothing is waited for. `jobs`: the cgroup below which jobs have theirs, "" if they cannot be held."""
        self._jobs = jobs
        self._begin()
        self._loop.at(boot_s() + _LOOK_S, self._tick)

    def seen(self) -> ScratchSeen:
        """What the engine is told."""
        capacity, used = self._capacity_bytes(), self._status.used_bytes if self._status and self.kind != DIRECTORY else 0
        unpromised = max(0, used - self._promised_bytes())
        return ScratchSeen("local", not self._why_not, self._why_not, capacity // _MIB, -(-unpromised // _MIB), wall_ms())

    def retire(self) -> None:
        """The node ends for good: nothing is left, however long that takes (within reason)."""
        self._ending = True
        self._let_go()
        with contextlib.suppress(OSError):
            (self._store / SERVED).unlink(missing_ok=True)
        if self.kind == DIRECTORY and not self._pid:
            return
        if self._pid:
            with contextlib.suppress(OSError):
                os.write(self._to, f"{RETIRE}\n".encode())
        else:
            self._spawn("")
        if not self._heard_out(boot_s() + _RETIRE_S):
            _say(f"the scratch space could not be taken away within {_RETIRE_S:g} s: the next node does it")
            self._kill()

    # --- the process ---

    def _begin(self) -> None:
        """Have what is wanted made ready: at once if it is a directory and nothing of another kind is to be taken away before."""
        self._started_s = boot_s()
        if self.kind != DIRECTORY:
            host.clear_the_way(self._work)
            self._spawn(self.kind)
        elif self._is_anything_left():
            self._spawn("")
        else:
            self._is_up = True
            self._look()

    def _is_anything_left(self) -> bool:
        """Whether there may be volumes of an earlier node, or what stands on them. A mount of somebody else's is none of our business."""
        if (self._store / "volumes.json").exists():
            return True
        mounts = (line.split(" ") for line in knobs.read(Path("/proc/self/mounts")).splitlines())
        return os.path.ismount(self._work) and any(mount[0].startswith("/dev/loop") and mount[1] == str(self._work) for mount in mounts)

    def _spawn(self, kind: str) -> None:
        with contextlib.suppress(OSError):
            self._status_mark = (self._store / STATUS).stat().st_mtime_ns  # an earlier watcher's word
        orders = Orders(
            kind,
            str(self._store),
            str(self._work),
            initial_bytes=self._wanted.initial_bytes,
            cap_bytes=self._wanted.cap_bytes,
            jobs=self._jobs,
            fresh=not self.is_mounted,
        )
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "batchyard.scratch.watcher", msgspec.json.encode(orders).decode()],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs_in, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)],
                setsid=True,
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        os.set_blocking(self._from, False)
        os.set_blocking(self._to, False)
        self._line = b""
        self._loop.watch(self._from, lambda _: self._hear())

    def _hear(self) -> bool:
        """What the watcher says; False when it has ended."""
        try:
            said = os.read(self._from, 4096)
        except BlockingIOError:
            return True
        *lines, self._line = (self._line + said).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == MOUNTED:
                self._is_up, self._failures, self._failure = True, 0, ""
                self._hand_over()
                self._look()
            elif word == FAILED:
                self._failure = rest
        if said:
            return True
        self._forget()
        if not self._ending:
            self._ended()
        return False

    def _forget(self) -> None:
        self._loop.forget(self._from)
        os.close(self._from)
        os.close(self._to)
        self._pid, self._from, self._to = 0, -1, -1

    def _ended(self) -> None:
        """The watcher is gone: another takes its place, at once if this one did its work, and later and later if it never could."""
        failure, self._failure = self._failure, ""
        if self.kind == DIRECTORY and not failure and not (self._store / "volumes.json").exists():
            self._is_up = True  # what was there has been taken away
            self._look()
            return
        self._failures += 1
        if failure:
            _say(f"scratch space ({self.kind}): {failure}")
            self._is_up = False
            self._why_not = failure
            if len(self._kinds) > 1 and not self.is_mounted:
                self._passed_over = f"{self._passed_over}{'; ' if self._passed_over else ''}{self.kind}: {failure}"
                del self._kinds[0]
                self._failures = 0
                self._begin()
                return
            self._changed()
        else:
            _say("the watcher of the scratch space has died, another takes over")
        if self._unwatched_s is None and self.is_mounted and self._jobs:
            self._unwatched_s = boot_s()
            self._mind_writers()
        pause_s = 0.0 if self._failures == 1 and not failure else min(_AGAIN_LAST_S, _AGAIN_FIRST_S * 2**self._failures)
        self._loop.at(boot_s() + pause_s, self._again)

    def _again(self) -> None:
        if not self._pid and not self._ending:
            self._begin()

    def _kill(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    # --- while nobody watches ---

    def _mind_writers(self) -> None:
        """Have the writers wait for another watcher, if there is little room left and more could be had; not for ever."""
        if self._unwatched_s is None or self._ending:
            return
        if boot_s() - self._unwatched_s > _HOLD_MOST_S:
            self._let_go()
            return
        if self._is_holding or self._is_tight():
            self._is_holding = True
            self._freezer().freeze(waits=False)
        self._loop.at(boot_s() + _HOLD_AGAIN_S, self._mind_writers)

    def _is_tight(self) -> bool:
        status = self._status
        if status is not None and status.capacity_bytes >= status.cap_bytes:
            return False
        try:
            seen = os.statvfs(self._work)
        except OSError:
            return False
        return seen.f_bavail * seen.f_frsize < _TIGHT_BYTES

    def _hand_over(self) -> None:
        """The new watcher is there: from now on it holds the writers and lets them go."""
        with contextlib.suppress(OSError):
            os.write(self._to, f"{HELD if self._is_holding else FREE}\n".encode())
        self._unwatched_s, self._is_holding = None, False

    def _let_go(self) -> None:
        if self._is_holding:
            self._freezer().thaw()
        self._unwatched_s, self._is_holding = None, False

    def _freezer(self) -> JobsFreezer:
        from batchyard.scratch.freezer import JobsFreezer  # rarely needed, and it loads a large library

        return JobsFreezer(Path(self._jobs))

    def _heard_out(self, until_s: float) -> bool:
        """Wait for the end of the watcher, at most until then; whether it came, and nothing failed."""
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        while (left_s := until_s - boot_s()) > 0:
            poller.poll(left_s * 1000)
            if not self._hear():
                return not self._failure
        return False

    # --- how it is ---

    def _tick(self) -> None:
        if not self._ending:
            self._look()
            self._loop.at(boot_s() + _LOOK_S, self._tick)

    def _look(self) -> None:
        """Take in how it is, and tell if that is news."""
        if self.kind == DIRECTORY:
            why_not = self._directory_trouble() if self._is_up else self._why_not
        else:
            self._read_status()
            why_not = self._watched_trouble()
        if self._is_up and not self.is_mounted:
            try:
                self._on_mounted(self.kind)
            except OSError as error:
                why_not = f"{self._work} cannot be furnished: {error.strerror}"
            else:
                self.is_mounted = True
        self._why_not = why_not
        self._changed()

    def _directory_trouble(self) -> str:
        try:
            below = os.statvfs(self._work)
        except OSError as error:
            return f"{self._work} cannot be looked at: {error.strerror}"
        return f"the disk of {self._work} is mounted read-only" if below.f_flag & os.ST_RDONLY else ""

    def _read_status(self) -> None:
        path = self._store / STATUS
        try:
            mark = path.stat().st_mtime_ns
            if mark != self._status_mark:
                self._status = msgspec.json.decode(path.read_bytes(), type=Status)
                self._status_mark = mark
        except (OSError, msgspec.MsgspecError):
            return  # the first one is still to come

    def _watched_trouble(self) -> str:
        if not self._is_up:
            return self._why_not
        if self._status is None:
            return ""  # it said that it is mounted, and has only begun to look
        silent_s = time.time() - max(self._status.at_s, time.time() - (boot_s() - self._started_s))
        if silent_s > _HUNG_S:
            self._kill()
        if silent_s > _SILENT_S:
            return f"its watcher has said nothing for {silent_s:.0f} s"
        return self._status.why_not

    def _capacity_bytes(self) -> int:
        """What can be promised as far as it can grow: of what is set, or of what the disk below a plain directory has."""
        if self.kind != DIRECTORY:
            return promisable_bytes(self.room_bytes)
        with contextlib.suppress(OSError):
            below = os.statvfs(self._work)
            free = below.f_bavail * below.f_frsize + self._promised_bytes()
            return promisable_bytes(min(self._wanted.cap_bytes, free) if self._wanted.cap_bytes else free)
        return 0

    def _changed(self) -> None:
        """Tell of it if it is news: a hundredth of all, or another state of health."""
        new, old = self.seen(), self._told
        if old is not None and (new.is_healthy, new.why_not) == (old.is_healthy, old.why_not):
            little = max(1, new.capacity_mib // _PART_TOLD)
            if abs(new.capacity_mib - old.capacity_mib) < little and abs(new.unpromised_mib - old.unpromised_mib) < little:
                return
        if old is None or (new.is_healthy, new.why_not) != (old.is_healthy, old.why_not):
            self._write_served(new)
        self._told = new
        self._on_change()

    def _write_served(self, seen: ScratchSeen) -> None:
        told = Served(
            kind=self.kind,
            place=str(self._work),
            is_ready=self.is_ready,
            why_not=seen.why_not,
            cap_bytes=self._wanted.cap_bytes,
            capacity_bytes=self._capacity_bytes(),
            passed_over=self._passed_over,
            node_pid=os.getpid(),
        )
        with contextlib.suppress(OSError):  # a disk that is full or read-only is told of by other ways
            self._store.mkdir(mode=0o700, exist_ok=True)
            partial = self._store / f"{SERVED}.new"
            partial.write_bytes(msgspec.json.encode(told) + b"\n")
            partial.replace(self._store / SERVED)


def _say(sentence: str) -> None:
    """Into the node's log."""
    print(sentence, flush=True)  # noqa: T201 - its log is its output
