"""The jobs that write while nobody watches: with little room left they wait until another watcher is there, though not for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from batchyard.compute.local.loop import Loop, boot_s
from batchyard.scratch.watching import FREE, HELD, Status

if TYPE_CHECKING:
    from batchyard.scratch.freezer import JobsFreezer

_TIGHT_BYTES = 4 * 1024**3  # with less free than this a writer may fill it before another watcher is there
_HOLD_AGAIN_S = 0.02  # the guard of a watcher that has died lets writers go, once
_HOLD_MOST_S = 15.0


class Writers:
    """Holds the jobs below one cgroup, in the time between two watchers."""

    def __init__(self, jobs: str, work: Path, loop: Loop, status: Callable[[], Status | None]) -> None:
        """`jobs`: the cgroup below which jobs have theirs, "" if they cannot be held; `status`: what is known of the space at `work`."""
        self._jobs, self._work, self._loop, self._status = jobs, work, loop, status
        self._unwatched_s: float | None = None  # since when nobody has watched
        self.are_held = False

    def unwatched(self) -> None:
        """From now on nobody watches them, until `hand_over` or `let_go`."""
        if self._unwatched_s is None and self._jobs:
            self._unwatched_s = boot_s()
            self._mind()

    def hand_over(self) -> str:
        """The new watcher is there: from now on it holds the writers and lets them go. The word that tells it which it has to do."""
        word = HELD if self.are_held else FREE
        self._unwatched_s, self.are_held = None, False
        return word

    def let_go(self) -> None:
        """Nobody is held any more."""
        if self.are_held:
            self._freezer().thaw()
        self._unwatched_s, self.are_held = None, False

    def _mind(self) -> None:
        """Have them wait if there is little room left and more could be had."""
        if self._unwatched_s is None:
            return
        if boot_s() - self._unwatched_s > _HOLD_MOST_S:
            self.let_go()
            return
        if self.are_held or self._is_tight():
            self.are_held = True
            self._freezer().freeze(waits=False)
        self._loop.at(boot_s() + _HOLD_AGAIN_S, self._mind)

    def _is_tight(self) -> bool:
        status = self._status()
        if status is not None and status.capacity_bytes >= status.cap_bytes:
            return False
        try:
            seen = os.statvfs(self._work)
        except OSError:
            return False
        return seen.f_bavail * seen.f_frsize < _TIGHT_BYTES

    def _freezer(self) -> JobsFreezer:
        from batchyard.scratch.freezer import JobsFreezer  # rarely needed, and it loads a large library

        return JobsFreezer(Path(self._jobs))
