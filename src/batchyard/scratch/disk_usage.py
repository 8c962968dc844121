"""What directories take of the disk, by walking them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path

_OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = 500  # entries, a millisecond or two
_OPEN_MOST = 500  # folders at a time, about: then those that were opened first are finished first


def bytes_in(place: str | Path, entries_most: int | None = None, inode_bytes: int = 0) -> int:
    """What the files below `place` take of the disk, as `du` counts: blocks, each file once, not across mounts.

    With `entries_most` no more is looked at once so many entries were seen: it is at least so much then. What has no blocks
    counts as `inode_bytes`.
    """
    return max(walk(place, entries_most, inode_bytes), default=0)


def walk(place: str | Path, entries_most: int | None = None, inode_bytes: int = 0) -> Generator[int]:
    """The same in steps of some entries, with what was counted so far: a walk may be long, and its walker have other things to do.

    All steps go through descriptors and never through a link: neither what is deeper than a path may be long is missed, nor can
    somebody who moves things meanwhile lead us astray.
    """
    try:
        top = os.open(place, _OPENING)
    except OSError:
        return
    count = _Count(os.fstat(top).st_dev, entries_most, inode_bytes)
    waiting: deque[tuple[int, list[str]]] = deque()  # open folders with the names of those in them that are to be opened
    try:
        waiting.append((top, []))
        yield from count.take_in(*waiting[0])
        while waiting and not count.is_over:
            at = -1 if len(waiting) < _OPEN_MOST else 0
            folder, names = waiting[at]
            if not names:
                del waiting[at]
                os.close(folder)
                continue
            try:
                below = os.open(names.pop(), _OPENING | os.O_NOFOLLOW, dir_fd=folder)
            except OSError:
                continue  # it went, or is not ours to read
            if not names:  # at once: a chain of folders may be of any length
                del waiting[at]
                os.close(folder)
            waiting.append((below, []))
            yield from count.take_in(*waiting[-1])
        yield count.bytes
    finally:
        for folder, _ in waiting:
            os.close(folder)


class _Count:
    """What was counted so far."""

    def __init__(self, device: int, entries_most: int | None, inode_bytes: int) -> None:
        self.bytes = 0
        self._device, self._entries_most, self._inode_bytes = device, entries_most, inode_bytes
        self._entries = 0
        self._linked: set[int] = set()  # files of several names that were counted under one

    @property
    def is_over(self) -> bool:
        return self._entries_most is not None and self._entries > self._entries_most

    def take_in(self, folder: int, folders: list[str]) -> Iterator[int]:
        """Count what is in an open folder, in steps, and add the names of the folders in it to `folders`."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._entries += 1
                    if self.is_over:
                        break
                    if self._is_folder(entry):
                        folders.append(entry.name)
                    if self._entries % _STEP == 0:
                        yield self.bytes
        except OSError:
            pass  # it went meanwhile

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Count it; whether something may be in it."""
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        if found.st_dev != self._device:
            return False
        is_folder = entry.is_dir(follow_symlinks=False)
        if found.st_nlink > 1 and not is_folder:
            if found.st_ino in self._linked:
                return False
            self._linked.add(found.st_ino)
        self.bytes += found.st_blocks * 512 or self._inode_bytes
        return is_folder
