"""The back ends of scratch space that a node can stand on, and which of them this machine can give."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from batchyard.compute.local import knobs, proc

AUTO, BTRFS, XFS, DIRECTORY = "auto", "loop-btrfs", "loop-xfs", "directory"
KINDS = (AUTO, BTRFS, XFS, DIRECTORY)
_MKFS = {BTRFS: "mkfs.btrfs", XFS: "mkfs.xfs"}
_WORTH_IT_BYTES = 1024**3  # with a smaller cap than this, `auto` takes a plain directory


class Wanted(NamedTuple):
    """What the operator decided. `cap_bytes` is as far as it may grow; 0 for a plain directory: as far as its disk goes."""

    kind: str
    cap_bytes: int
    initial_bytes: int


def candidates(wanted: Wanted) -> list[str]:
    """The back ends to try, best first. What was named is taken, or nothing; `auto` falls back as far as a plain directory."""
    if wanted.kind != AUTO:
        return [wanted.kind]
    if os.geteuid() != 0 or wanted.cap_bytes < _WORTH_IT_BYTES or not Path("/dev/loop-control").exists():
        return [DIRECTORY]
    if not proc.is_capable(proc.CAP_SYS_ADMIN):
        return [DIRECTORY]
    known = knobs.read(Path("/proc/filesystems")).split()
    return [*(kind for kind, mkfs in _MKFS.items() if kind.removeprefix("loop-") in known and shutil.which(mkfs)), DIRECTORY]
