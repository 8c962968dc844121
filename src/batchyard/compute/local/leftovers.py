"""The little that many jobs leave in their directories: removed at once, where new directories and new namespaces would take longer.

For directories in which nobody writes any more. All steps go through descriptors, and never through a link or into what is mounted there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from itertools import islice

from batchyard.compute.local.mounted import MOUNTED_THERE, mount_of

FEW, _LITTLE_BLOCKS = 64, 2048  # entries, and blocks of 512 bytes, that are removed while others wait for it


def opened(name: str, within: int | None = None) -> int:
    """A descriptor of a directory. OSError, also for a link to one, and for what is mounted in an open directory `within`."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    if within is not None and mount_of(descriptor) != mount_of(within):
        os.close(descriptor)
        raise OSError(errno.EXDEV, MOUNTED_THERE, name)
    return descriptor


def first_names(directory: int, most: int) -> list[str]:
    """What is in an open directory, but not more than `most`: there may be millions."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in islice(entries, most)]


def are_little(names: Iterable[str], directory: int) -> bool:
    """Whether that, with all that lies in it, is removed in no time. OSError where we may not look."""
    return _left_of(FEW, _LITTLE_BLOCKS, names, directory) is not None


def _left_of(entries: int, blocks: int, names: Iterable[str], directory: int) -> tuple[int, int] | None:
    """So many entries and blocks less what is called so; None if they do not suffice."""
    for name in names:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        entries, blocks = entries - 1, blocks - found.st_blocks
        if entries < 0 or blocks < 0:
            return None
        if stat.S_ISDIR(found.st_mode):
            inner = opened(name, directory)
            try:
                left = _left_of(entries, blocks, first_names(inner, entries + 1), inner)
            finally:
                os.close(inner)
            if left is None:
                return None
            entries, blocks = left
    return entries, blocks


def remove(names: Iterable[str], directory: int) -> None:
    """Remove what is called so, and was little. OSError if something stays."""
    for name in names:
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
            continue
        inner = opened(name, directory)
        try:
            remove(first_names(inner, FEW), inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=directory)
