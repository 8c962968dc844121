"""Where the bench keeps its files until it ends: the same conditions for everybody who makes many small ones.

ext4 without a journal looks past each inode number that was freed within the last minutes, so whoever makes files after somebody's large
removal pays for it. Therefore nothing is removed before the end, and each folder is asked to lie in a part of the disk of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

_GET_FLAGS, _SET_FLAGS, _SPREAD = 0x80086601, 0x40086602, 0x00020000  # what `chattr +T` does

_root: Path | None = None


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Folders made in this block last until its end."""
    global _root
    _root = Path(tempfile.mkdtemp(prefix="batchyard-bench-"))
    _root.chmod(0o755)  # jobs under other user ids pass through
    _spread(_root)
    try:
        yield
    finally:
        shutil.rmtree(_root, ignore_errors=True)


def folder() -> Path:
    """A new one."""
    made = Path(tempfile.mkdtemp(dir=_root))
    made.chmod(0o755)
    return made


def _spread(directory: Path) -> None:
    """Other file systems do not know this, nor have the reason for it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("L", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("L"))))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("L", flags | _SPREAD))
    finally:
        os.close(descriptor)
