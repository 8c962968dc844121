"""Calls of btrfs that are made by ioctl: what their numbers are, and a descriptor to make one on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

WRITE, READ = 1, 2
_MAGIC = 0x94


def request(direction: int, number: int, size: int) -> int:
    """The number of a call whose argument has so many bytes, written to the kernel, read from it, or both."""
    return direction << 30 | size << 16 | _MAGIC << 8 | number


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor for one call. None is kept: one would keep the file system from being unmounted."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
