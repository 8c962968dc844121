"""What directories take of the disk, by walking them."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

_OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_MOST = 500  # folders at a time, about: then those that were opened first are finished first


def bytes_in(place: str | Path, entries_most: int | None = None, inode_bytes: int = 0) -> int:
    """What the files below `place` take of the disk, as `du` counts: blocks, each file once, not across mounts.

    With `entries_most` no more is looked at once so many entries were seen: it is at least so much then. What has no blocks
    counts as `inode_bytes`.

    All steps go through descriptors and never through a link: neither what is deeper than a path may be long is missed, nor can
    somebody who moves things meanwhile lead us astray.
    """
    try:
        top = os.open(place, _OPENING)
    except OSError:
        return 0
    count = _Count(os.fstat(top).st_dev, entries_most, inode_bytes)
    waiting = deque([(top, count.take_in(top))])  # folders with the names of those in them that are to be opened
    try:
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
            waiting.append((below, count.take_in(below)))
    finally:
        for folder, _ in waiting:
            os.close(folder)
    return count.bytes


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

    def take_in(self, folder: int) -> list[str]:
        """Count what is in an open folder: the names of the folders in it."""
        folders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._entries += 1
                    if self.is_over:
                        break
                    if self._is_folder(entry):
                        folders.append(entry.name)
        except OSError:
            pass  # it went meanwhile
        return folders

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
