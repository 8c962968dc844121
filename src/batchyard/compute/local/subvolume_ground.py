"""Ground of btrfs: each attempt's directory is a subvolume with a limit that the kernel keeps, and that knows at once what it holds."""

from __future__ import annotations

import contextlib
import os
from collections import deque

from batchyard.compute.local.loop import boot_s
from batchyard.scratch.subvolumes import Count, Groups

_OURS = 0o711
_STRAY_BYTES = 1024 * 1024
_CLEAR_EVERY_S, _COMMIT_EVERY_S = 0.5, 2.0
_COMMIT_ABOVE_BYTES, _COMMIT_ABOVE_COUNT = 64 * 1024 * 1024, 64
_BUSY_MOST = 8  # once so many cannot go yet, the rest is left for later
_STALE_S = 60.0


class _Parcel:
    """One directory: its group, its subvolume, its limit, and who counts what it holds."""

    __slots__ = ("count", "group", "limit_bytes", "subvolume")

    def __init__(self, group: int, subvolume: int, count: Count) -> None:
        self.group, self.subvolume, self.count = group, subvolume, count
        self.limit_bytes: int | None = None


class _Leaving:
    """A group whose directory was given up; it goes when the kernel has cleared what was in it."""

    __slots__ = ("group", "since_s", "subvolume", "used_bytes")

    def __init__(self, group: int, subvolume: int | None, used_bytes: int) -> None:
        self.group, self.subvolume, self.used_bytes, self.since_s = group, subvolume, used_bytes, boot_s()


class Subvolumes:
    """See `ground.Ground`."""

    def __init__(self, groups: Groups) -> None:
        """`groups` are enabled. What an earlier node left is swept by whoever sweeps, and its groups go when it has gone."""
        self._groups = groups
        self._here: dict[str, _Parcel] = {}
        old = sorted(groups.numbers(1))
        self._next = old[-1] + 1 if old else 1
        self._leaving = deque(_Leaving(number, None, 0) for number in old)
        self._leaving_bytes = 0
        self._known = groups.numbers(0)  # subvolumes that are not strays: ours, and what earlier nodes left
        self._looked_s = self._committed_s = 0.0

    def make(self, path: str) -> None:
        number = self._next
        self._next += 1
        self._groups.make_group(number)
        try:
            parcel = _Parcel(number, self._groups.make(path, number), self._groups.count(number))
            os.chmod(path, _OURS)  # noqa: PTH101 - in the path of every start
        except OSError:
            self._leaving.append(_Leaving(number, None, 0))
            raise
        self._known.add(parcel.subvolume)
        self._here[path] = parcel

    def move(self, path: str, to: str) -> None:
        os.rename(path, to)  # noqa: PTH104 - in the path of every start
        parcel = self._here.pop(path, None)
        if parcel is not None:
            self._here[to] = parcel

    def remove(self, path: str) -> bool:
        # The sweeper takes it away as a whole (see `sweep.remove_tree`): with many files in the cache that is a while.
        parcel = self._here.pop(path, None)
        if parcel is not None:
            left = _Leaving(parcel.group, parcel.subvolume, parcel.count.used_bytes() or 0)
            parcel.count.close()
            self._leaving.append(left)
            self._leaving_bytes += left.used_bytes
        return False

    def limit(self, path: str, limit_bytes: int) -> bool:
        parcel = self._here.get(path)
        if parcel is None:
            return False
        if parcel.limit_bytes != limit_bytes:
            self._groups.limit(parcel.group, limit_bytes)
            parcel.limit_bytes = limit_bytes
        return True

    def used_bytes(self, path: str) -> int | None:
        parcel = self._here.get(path)
        return None if parcel is None else parcel.count.used_bytes()

    def leaving_bytes(self) -> int:
        return self._leaving_bytes

    def look(self) -> bool:
        now_s = boot_s()
        if now_s - self._looked_s >= _CLEAR_EVERY_S:
            self._looked_s = now_s
            self._clear(now_s)
            if not self._groups.is_simple:
                self._hold_strays()
        return bool(self._leaving)

    def _clear(self, now_s: float) -> None:
        """Remove groups that nobody is in any more."""
        busy: list[_Leaving] = []
        while self._leaving and len(busy) < _BUSY_MOST:
            left = self._leaving.popleft()
            if left.subvolume is not None and now_s - left.since_s > _STALE_S and self._groups.used_bytes(left.subvolume, 0) == 0:
                with contextlib.suppress(OSError):  # kernels since 6.11 do it themselves, and refuse it while there is something
                    self._groups.remove_stale(left.subvolume)
            try:
                self._groups.remove_group(left.group)
            except FileNotFoundError:
                pass
            except OSError:
                busy.append(left)
                continue
            self._leaving_bytes -= left.used_bytes
            if left.subvolume is not None:
                self._known.discard(left.subvolume)
        self._leaving.extend(busy)
        much = len(self._leaving) > _COMMIT_ABOVE_COUNT or self._leaving_bytes > _COMMIT_ABOVE_BYTES
        if much and now_s - self._committed_s >= _COMMIT_EVERY_S:
            self._committed_s = now_s
            with contextlib.suppress(OSError):
                self._groups.commit_soon()

    def _hold_strays(self) -> None:
        """Where the full mode counts, a subvolume that a job makes in its directory falls into no group: it can hold next to nothing."""
        with contextlib.suppress(OSError):
            for number in self._groups.numbers(0) - self._known:
                self._groups.limit(number, _STRAY_BYTES, level=0)
                self._known.add(number)
            if self._groups.is_unsure:
                self._groups.count_anew()
