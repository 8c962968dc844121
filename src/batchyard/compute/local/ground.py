"""The ground that attempts' directories stand on: how a directory is made, limited, measured and taken away there.

A plain directory can be made and moved and no more: what it holds is found by walking, its limit is kept by whoever walks
(`allotments`), and the sweeper removes it.
"""

from __future__ import annotations

import os
from typing import Protocol

from batchyard.compute.local.node_log import say

_OURS = 0o711  # jobs pass through it, and cannot change what lies in it


class Ground(Protocol):
    """Directories for attempts below one place. Paths are strings all the way: this lies in the path of every start and end."""

    def make(self, path: str) -> None:
        """Make a directory for an attempt, owned by us. OSError with the path in it."""
        ...

    def move(self, path: str, to: str) -> None:
        """Rename one that was made here: it keeps its limit."""
        ...

    def remove(self, path: str) -> bool:
        """Take it away with all that it holds, at once, if that is cheap here. False: let the sweeper do it."""
        ...

    def limit(self, path: str, limit_bytes: int) -> bool:
        """From now on it can hold so much and no more; "already so" is free. False: nobody sees to that here, so it has to be watched."""
        ...

    def used_bytes(self, path: str) -> int | None:
        """What it holds, with what is not written back yet. Cheap; None: nobody can tell cheaply."""
        ...

    def leaving_bytes(self) -> int:
        """What is taken still by directories that were given up, as far as it is known here."""
        ...

    def look(self) -> bool:
        """Do what is due from time to time; False: nothing is, until another directory is made or given up."""
        ...


class Plain:
    """See `Ground`. Directories of any file system."""

    def make(self, path: str) -> None:
        os.mkdir(path, _OURS)  # noqa: PTH102 - in the path of every start

    def move(self, path: str, to: str) -> None:
        os.rename(path, to)  # noqa: PTH104 - in the path of every start

    def remove(self, path: str) -> bool:
        return False

    def limit(self, path: str, limit_bytes: int) -> bool:
        return False

    def used_bytes(self, path: str) -> int | None:
        return None

    def leaving_bytes(self) -> int:
        return 0

    def look(self) -> bool:
        return False


def choose(work: str, kind: str) -> Ground:
    """The ground at `work`, which is mounted, for a back end of scratch space by its name ("loop-btrfs", "loop-xfs", "directory").

    On btrfs without quotas (an old kernel) it is plain: limits are watched then.
    """
    if not kind.endswith("btrfs"):
        return Plain()
    from batchyard.compute.local.subvolume_ground import Subvolumes  # only a node that needs them loads ioctls
    from batchyard.scratch.provision import ScratchError
    from batchyard.scratch.subvolumes import Groups

    try:
        groups = Groups(work)
        groups.enable()
        return Subvolumes(groups)
    except (ScratchError, OSError) as error:
        say(f"limits on scratch space are watched: {error}")
        return Plain()
