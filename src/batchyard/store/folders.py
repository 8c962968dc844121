"""Folders that last: what is made, renamed or removed in one is durable only once the folder itself was synced.

Only the standard library is imported here, because the node's small process uses it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it, for good: a power cut does not take their entries."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(handle)
    finally:
        os.close(handle)


def sync(handle: int) -> None:
    """Everything about an open file or folder is on the medium after this; macOS needs to be asked more firmly."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle)
