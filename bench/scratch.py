"""Where the bench keeps its files until it ends: the same conditions for everybody who makes many small ones.

ext4 without a journal looks past each inode number that was freed within the last minutes, so whoever makes files after somebody's large
removal pays for it: twice the time for each job was seen, ours or a peer's. Therefore nothing is removed before the end, each folder is
asked to lie in a part of the disk of its own, and one where making files is slow is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_GET_FLAGS, _SET_FLAGS, _SPREAD = 0x80086601, 0x40086602, 0x00020000  # what `chattr +T` does

_PLACES, _FILES = 8, 50

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
    """A new one, in the quickest of several places."""
    candidates = []
    for _ in range(_PLACES):
        made = Path(tempfile.mkdtemp(dir=_root))
        candidates.append((_seconds_for_files(made), made))
    _, best = min(candidates)
    best.chmod(0o755)
    return best


def _seconds_for_files(directory: Path) -> float:
    tried = directory / "tried"
    tried.mkdir()
    started = time.perf_counter()
    for number in range(_FILES):
        (tried / str(number)).touch()
    return time.perf_counter() - started


def _spread(directory: Path) -> None:
    """Other file systems do not know this, nor have the reason for it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("L", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("L"))))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("L", flags | _SPREAD))
    finally:
        os.close(descriptor)
