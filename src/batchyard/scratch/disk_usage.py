"""What directories take of the disk, by walking them."""

from __future__ import annotations

import os
from pathlib import Path


def bytes_in(place: str | Path, entries_most: int | None = None, inode_bytes: int = 0) -> int:
    """What the files below `place` take of the disk, as `du` counts: blocks, each file once, not across mounts.

    With `entries_most` no more folders are opened once so many entries were seen: it is at least so much then. What has no blocks
    counts as `inode_bytes`.
    """
    total = counted = 0
    seen: set[int] = set()
    try:
        device = os.stat(place).st_dev  # noqa: PTH116 - a string, where it is in the path of an end
    except FileNotFoundError:
        return 0
    folders = [os.fspath(place)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue  # it went, or is not ours to read
        counted += len(entries)
        if entries_most is not None and counted > entries_most:
            break
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if found.st_dev != device:
                continue
            if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                if found.st_ino in seen:
                    continue
                seen.add(found.st_ino)
            total += found.st_blocks * 512 or inode_bytes
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
    return total
