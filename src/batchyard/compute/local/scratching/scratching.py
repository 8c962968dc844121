"""The scratch space of one node: it has the space made and watched, has the jobs let in, and knows how it is.

Its watcher is started again at once when it dies; jobs do not notice. What the node tells the engine follows from what the watcher
writes down. A plain directory needs nobody to watch it: there is nothing to make or to grow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from batchyard.compute.local import knobs, workplace
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.node_log import say
from batchyard.compute.local.scratch_shares import promisable_bytes, usable_bytes
from batchyard.compute.local.scratching import told
from batchyard.compute.local.scratching.kinds import DIRECTORY, Wanted, candidates
from batchyard.compute.local.scratching.rest import Rests
from batchyard.compute.local.scratching.watcher import Watcher
from batchyard.compute.local.scratching.writers import Writers
from batchyard.model.messages import ScratchSeen
from batchyard.scratch.watching import AWAKE, FAILED, MOUNTED, RETIRE, Orders

_MIB = 1024 * 1024
_LOOK_S = 1.0
_AGAIN_FIRST_S, _AGAIN_LAST_S = 0.1, 30.0
_RETIRE_S = 90.0


class Scratching:
    """The scratch space of one node, mounted at `work`; its volumes are in `store`."""

    def __init__(
        self,
        wanted: Wanted,
        work: Path,
        store: Path,
        loop: Loop,
        jobs: str = "",
        *,
        on_mounted: Callable[[str], None],
        on_change: Callable[[], None],
        promised_bytes: Callable[[], int] = lambda: 0,
        beside: Callable[[], str] = lambda: "",
        is_in_use: Callable[[], bool] = lambda: True,
    ) -> None:
        """`jobs`: the cgroup below which jobs have theirs, "" if they cannot be held. `on_mounted` is told the kind, once, before any job
        may write; `on_change`, that `seen` is news; `promised_bytes`: what jobs with a promise hold now;
        `beside`: why nothing should be started though all is well with the space itself, "" if it may;
        `is_in_use`: whether anything is there that writes to it, or may at any moment."""
        self._wanted, self._work, self._store, self._loop, self._jobs = wanted, work, store, loop, jobs
        self._on_mounted, self._on_change, self._promised_bytes, self._beside = on_mounted, on_change, promised_bytes, beside
        self._watcher = Watcher(store, loop, self._heard, self._ended)
        self._writers = Writers(jobs, work, loop, lambda: self._watcher.status)
        self._rests = Rests(self._watcher.say, loop, is_in_use)
        self._kinds = candidates(wanted)
        self._passed_over = ""
        self._failures = 0
        self._failure = ""
        self._ending = False
        self.is_mounted = False  # jobs have been let in: from now on the back end stays what it is
        self._is_up = False  # the watcher says so
        self._why_not = "the scratch space is being made ready"
        self._told: ScratchSeen | None = None

    @property
    def kind(self) -> str:
        """The back end in use, or being tried."""
        return self._kinds[0]

    @property
    def is_ready(self) -> bool:
        """Whether it is such that jobs may be started."""
        return self.is_mounted and not self._why_not and not self._writers.are_held

    @property
    def is_ahead(self) -> bool:
        """Whether jobs may be started now: it is ready, and whoever watches it is awake (see `expect_writers`)."""
        return self.is_ready and self._rests.is_awake

    def expect_writers(self) -> None:
        """An attempt is about to be started: soon it is `is_ahead`, if it is well."""
        self._rests.end()

    @property
    def room_bytes(self) -> int:
        """What jobs may hold together, as far as it is set and the disk below has it; 0: as much as there is."""
        return usable_bytes(self.kind, self._reach_bytes())

    def start(self) -> None:
        """Begin; nothing is waited for."""
        self._begin()
        self._loop.at(boot_s() + _LOOK_S, self._tick)

    def seen(self) -> ScratchSeen:
        """What the engine is told."""
        status = self._watcher.status
        capacity, used = self._capacity_bytes(), status.used_bytes if status and self.kind != DIRECTORY else 0
        unpromised = max(0, used - self._promised_bytes())
        return ScratchSeen("local", not self._why_not, self._why_not, capacity // _MIB, -(-unpromised // _MIB), wall_ms())

    def retire(self) -> None:
        """The node ends for good: nothing is left, however long that takes (within reason)."""
        self._ending = True
        self._writers.let_go()
        told.remove(self._store)
        if self._watcher.is_there:
            self._watcher.say(RETIRE)
        elif self.kind != DIRECTORY:
            self._watch("")
        else:
            return
        until_s = boot_s() + _RETIRE_S
        while (is_over := self._watcher.hear_out(until_s)) and not self._failure and self._has_volumes():
            self._watch("")  # it died before it was done
        if not is_over or self._failure:
            say(f"the scratch space could not be taken away within {_RETIRE_S:g} s: the next node does it")
            self._watcher.kill()

    # --- its watcher ---

    def _begin(self) -> None:
        """Have what is wanted made ready: at once if it is a directory and nothing of another kind is to be taken away before."""
        if self.kind != DIRECTORY:
            workplace.clear_the_way(self._work)
            self._watch(self.kind)
        elif self._is_anything_left():
            self._watch("")
        else:
            self._is_up = True
            self._look()

    def _is_anything_left(self) -> bool:
        """Whether there may be volumes of an earlier node, or what stands on them. A mount of somebody else's is none of our business."""
        if self._has_volumes():
            return True
        mounts = (line.split(" ") for line in knobs.read(Path("/proc/self/mounts")).split("\n"))
        return os.path.ismount(self._work) and any(mount[0].startswith("/dev/loop") and mount[1] == str(self._work) for mount in mounts)

    def _has_volumes(self) -> bool:
        return (self._store / "volumes.json").exists()

    def _watch(self, kind: str) -> None:
        """Have the back end made, or found, and watched; "": have what is there taken away."""
        self._watcher.start(
            Orders(
                kind,
                str(self._store),
                str(self._work),
                initial_bytes=self._wanted.initial_bytes,
                cap_bytes=self._wanted.cap_bytes,
                jobs=self._jobs,
                fresh=not self.is_mounted,
            )
        )

    def _heard(self, word: str, rest: str) -> None:
        if word == MOUNTED:
            self._is_up, self._failures, self._failure = True, 0, ""
            self._watcher.say(self._writers.hand_over())
            self._look()
        elif word == AWAKE:
            self._rests.answered(rest)
        elif word == FAILED:
            self._failure = rest

    def _ended(self) -> None:
        """The watcher is gone: another takes its place, at once if this one did its work, and later and later if it never could."""
        if self._ending:
            return
        self._rests.lost()
        failure, self._failure = self._failure, ""
        if self.kind == DIRECTORY and not failure and not self._has_volumes():
            self._is_up = True  # what was there has been taken away
            self._look()
            return
        self._failures += 1
        if failure:
            say(f"scratch space ({self.kind}): {failure}")
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
            say("the watcher of the scratch space has died, another takes over")
        if self.is_mounted:
            self._writers.unwatched()
        pause_s = 0.0 if self._failures == 1 and not failure else min(_AGAIN_LAST_S, _AGAIN_FIRST_S * 2**self._failures)
        self._loop.at(boot_s() + pause_s, self._again)

    def _again(self) -> None:
        if not self._watcher.is_there and not self._ending:
            self._begin()

    # --- how it is ---

    def _tick(self) -> None:
        if not self._ending:
            self._look()
            if self._watcher.is_there and self.is_ready:
                self._rests.tick()
            self._loop.at(boot_s() + _LOOK_S, self._tick)

    def _look(self) -> None:
        """Take in how it is, and tell if that is news."""
        why_not = self._trouble()
        if self._is_up and not self.is_mounted:
            try:
                self._on_mounted(self.kind)
            except OSError as error:
                why_not = f"{self._work} cannot be furnished: {error.strerror}"
            else:
                self.is_mounted = True
        self._why_not = why_not
        self._changed()

    def _trouble(self) -> str:
        """Why it is not healthy; "" if it is."""
        if self.kind != DIRECTORY:
            self._watcher.look()
        if not self._is_up:
            return self._why_not
        return (self._directory_trouble() if self.kind == DIRECTORY else self._watcher.trouble()) or self._beside()

    def _directory_trouble(self) -> str:
        try:
            below = os.statvfs(self._work)
        except OSError as error:
            return f"{self._work} cannot be looked at: {error.strerror}"
        return f"the disk of {self._work} is mounted read-only" if below.f_flag & os.ST_RDONLY else ""

    def _capacity_bytes(self) -> int:
        """What can be promised as far as it can grow: of what is set, or of what the disk below a plain directory has."""
        if self.kind != DIRECTORY:
            return promisable_bytes(self.room_bytes)
        with contextlib.suppress(OSError):
            below = os.statvfs(self._work)
            free = below.f_bavail * below.f_frsize + self._promised_bytes()
            return promisable_bytes(min(self._wanted.cap_bytes, free) if self._wanted.cap_bytes else free)
        return 0

    def _reach_bytes(self) -> int:
        """As far as it can grow: to what is set, or until the disk below is full, which others fill too."""
        status, cap = self._watcher.status, self._wanted.cap_bytes
        if self.kind == DIRECTORY or status is None or status.room_bytes is None:
            return cap
        return min(cap, status.capacity_bytes + status.room_bytes)

    def _changed(self) -> None:
        """Tell of it if it is news."""
        new, old = self.seen(), self._told
        if old is not None and not told.is_news(new, old):
            return
        told.write(self._store, self._served(new))
        self._told = new
        self._on_change()

    def _served(self, seen: ScratchSeen) -> told.Served:
        return told.Served(
            kind=self.kind,
            place=str(self._work),
            is_ready=self.is_ready,
            why_not=seen.why_not,
            cap_bytes=self._wanted.cap_bytes,
            capacity_bytes=self._capacity_bytes(),
            passed_over=self._passed_over,
            node_pid=os.getpid(),
        )
