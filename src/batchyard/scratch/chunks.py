"""Room for the metadata of btrfs that data cannot take.

btrfs gives out its disks in chunks, to data or to metadata, and none comes back by itself. mkfs gives metadata 8 MiB, most of which
the file system keeps for itself (`GlobalReserve`); all else is borrowed from what is not given out yet. Large files that are written
back may take the whole of that for data at once, holes and all, before another disk is there. Then a directory entry finds no room: jobs
meet ENOSPC, and `df` shows nothing free, beside gigabytes of empty chunks. So metadata gets a chunk of the usual size (a tenth of all,
256 MiB at most) from the first moment; the kernel adds others as that fills.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import struct
from pathlib import Path

from batchyard.scratch.ioctls import READ, WRITE, opened, request

_BALANCE = request(WRITE | READ, 32, 1024)  # BTRFS_IOC_BALANCE_V2
_BALANCE_CTL = request(WRITE, 33, 4)
_CANCEL = 2
_METADATA = 1 << 2  # without SYSTEM, which the command adds, and which would take as much again of a small disk
log = logging.getLogger(__name__)


def set_aside_for_metadata(mount: Path) -> None:
    """Move the metadata of a new btrfs into a chunk of the usual size: some tenths of a second while it is empty.

    Can be repeated: what a killed one left half-way is given up first. One too small for it stays as it is.
    """
    with opened(str(mount.resolve())) as place:
        with contextlib.suppress(OSError):  # none was left: the usual case
            fcntl.ioctl(place, _BALANCE_CTL, _CANCEL)
        try:
            fcntl.ioctl(place, _BALANCE, bytearray(struct.pack("<Q", _METADATA).ljust(1024, b"\0")))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            log.warning("no room is set aside for metadata: %s", error.strerror)
