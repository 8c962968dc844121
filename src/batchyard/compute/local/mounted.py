"""What is mounted inside a directory, and which mount an open one lies on: what others have mounted there is not ours to empty.

Not by device numbers: a folder that is bound somewhere has the same, and a btrfs subvolume, which nobody mounted, another.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

from batchyard.compute.local import knobs

_AT_EMPTY_PATH, _MOUNT_ID = 0x1000, 0x1000  # of statx: STATX_MNT_ID, since Linux 5.8
_ANSWER = struct.Struct("=I140xQ")  # what of all was told, and the number of the mount
_answer = ctypes.create_string_buffer(256)  # for one thread
MOUNTED_THERE = "something is mounted there, and is left as it is"
_ESCAPED = re.compile(r"\\([0-7]{3})")


def below(directory: str) -> str:
    """A place at or below a directory at which something is mounted, as far as this process sees it; "" if there is none."""
    parent, name = os.path.split(directory)
    wanted = f"{os.path.realpath(parent)}/{name}".replace("//", "/")
    for line in knobs.read(Path("/proc/self/mountinfo")).split("\n")[:-1]:
        place = line.split(" ", 5)[4]
        if "\\" in place:
            place = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), place)
        if place == wanted or place.startswith(f"{wanted}/"):
            return place
    return ""


def mount_of(descriptor: int) -> int:
    """The number of the mount that an open file lies on; 0 where nobody can tell."""
    ask = _statx()
    if ask is not None and ask(descriptor, b"", _AT_EMPTY_PATH, _MOUNT_ID, _answer) == 0:
        told, number = _ANSWER.unpack_from(_answer)
        if told & _MOUNT_ID:
            return int(number)
    return knobs.number_after(b"mnt_id:", knobs.read(Path(f"/proc/self/fdinfo/{descriptor}")).encode())


@functools.cache
def _statx() -> Callable[..., int] | None:
    """The call of the C library, where it has it."""
    call = getattr(ctypes.CDLL(None), "statx", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]
    return call
