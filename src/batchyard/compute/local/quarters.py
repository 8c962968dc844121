"""The private directories of an attempt: WORK/<attempt>/home, where it starts, and WORK/<attempt>/tmp.

A slot's directories are used again if the attempt left them as it found them, or with so little in them that it is removed at once
(`leftovers`): making and removing directories for every attempt slows down file systems that avoid the numbers of freshly removed
files (ext4 looks past each of them), and with new ones go new namespaces. Since a slot's user id is nobody else's, what is used again
was never within reach of another job. All else is removed by the sweeper.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from batchyard.compute.local import leftovers
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.leftovers import opened
from batchyard.compute.local.spawn import Identity
from batchyard.compute.local.sweep import Sweeper
from batchyard.model.capacity import Resources

_OURS = 0o711  # the outer directory is ours: jobs pass through it, and cannot change what lies in it
_THEIRS = 0o700
_PARTS = ("home", "tmp")
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS: a job may set some, and what is made below has them too


class Quarters:
    """One slot's directories, or those of one attempt that names a user of its own."""

    __slots__ = ("_allotments", "_flags", "_has_idle", "_idle", "_inside", "_path", "_work", "are_new")

    def __init__(self, work: str, number: int, allotments: Allotments) -> None:
        self._work = work
        self._allotments = allotments
        self._idle = f"{work}/.slot-{number}"
        self._has_idle = False  # there is a set of them that nobody lives in
        self._path = ""  # where somebody lives now
        self._flags = b""  # of its directories' inodes (`lsattr`), when they were made
        self._inside = ""  # and where it is within a task's directory
        self.are_new = True  # nobody has lived in them before

    def move_in(self, attempt: str, needs: Resources, name: str, who: Identity | None) -> tuple[str, str]:
        """Have them ready as WORK/`name`, owned by `who` (None: by us): the paths of home and tmp. OSError with the path in it.

        From now on they count as the attempt's part of the scratch space.
        """
        path = f"{self._work}/{name}"
        if self._has_idle and not (who and who.shared):
            self._allotments.ground.move(self._idle, path)
            self._path, self._has_idle, self.are_new = path, False, False
        else:
            self._allotments.ground.make(path)
            self._path, self.are_new = path, True
            _furnish(path, who)
            self._flags = _flags_at(f"{path}/{_PARTS[0]}")
        self._allotments.open(attempt, needs, path)
        return f"{path}/home", f"{path}/tmp"

    def move_inside(self, path: str, who: Identity | None) -> tuple[str, str]:
        """Have them ready within the directory of a task, of whose part they are: `path` lies in it, and goes with it at the latest."""
        os.mkdir(path, _OURS)  # noqa: PTH102 - in the path of every start
        self._inside, self.are_new = path, True
        _furnish(path, who)
        return f"{path}/home", f"{path}/tmp"

    def make_ready(self, who: Identity | None) -> str:
        """Have some wait for who comes next, as `move_out` leaves those that can be used again: what they are called.

        Not while anybody lives here. OSError with the path in it.
        """
        if not self._has_idle:
            self._allotments.ground.make(self._idle)
            _furnish(self._idle, who)
            self._flags = _flags_at(f"{self._idle}/{_PARTS[0]}")
            self._has_idle = True
        return os.path.basename(self._idle)  # noqa: PTH119 - a string all the way

    def tidy(self, furniture: frozenset[str] = frozenset()) -> bool:
        """Whether they are as they were made, without the little that was left. `furniture` names what we may have put there ourselves.

        Nobody is left who could still write here.
        """
        if not self._path:
            return False
        left = [_left(f"{self._path}/{part}", furniture, self._flags) for part in _PARTS]
        if None in left:
            return False
        if any(left):
            self._allotments.measure(self._path)
            if not all(_removed(f"{self._path}/{part}", names or []) for part, names in zip(_PARTS, left, strict=True)):
                return False
        return self._allotments.is_light(self._path)

    def move_out(self, sweeper: Sweeper, reusable: bool) -> None:
        """The attempt is over. If `reusable`, they are tidy, and nobody is left who could still write here."""
        if self._inside:
            self._allotments.measure(os.path.dirname(self._inside))  # noqa: PTH120 - in the path of every end
            sweeper.remove(self._inside)
            self._inside = ""
        if not self._path:
            return
        self._allotments.close(self._path, reusable)
        if reusable and not self._has_idle:
            with contextlib.suppress(OSError):
                self._allotments.ground.move(self._path, self._idle)
                self._path, self._has_idle = "", True
                return
        self._allotments.give_up(self._path, sweeper)
        self._path = ""


def _furnish(path: str, who: Identity | None) -> None:
    for part in _PARTS:
        os.mkdir(f"{path}/{part}", _THEIRS)  # noqa: PTH102 - in the path of every start
        if who:
            os.chown(f"{path}/{part}", who.uid, who.gid)


def _flags_at(path: str) -> bytes:
    descriptor = opened(path)
    try:
        return _flags(descriptor)
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> bytes:
    """What a file system knows of an open directory beside its permissions; nothing where there is no such thing."""
    try:
        return fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
    except OSError:
        return b""


def _left(path: str, furniture: frozenset[str], flags: bytes) -> list[str] | None:
    """The little that was left in a directory; None if there is more, or it is not as closed as when it was made."""
    try:
        descriptor = opened(path)
    except OSError:
        return None
    try:
        closed = os.fstat(descriptor).st_mode & 0o7777 == _THEIRS
        plain = not hasattr(os, "listxattr") or not os.listxattr(descriptor)
        if not (closed and plain and _flags(descriptor) == flags):
            return None
        names = leftovers.first_names(descriptor, leftovers.FEW + len(furniture) + 1)
        left = [name for name in names if name not in furniture or not _is_ours(name, descriptor)] if names else names
        return left if not left or leftovers.are_little(left, descriptor) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_ours(name: str, directory: int) -> bool:
    """Whether a directory belongs to us, so that a job can have put nothing into it."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _removed(path: str, names: list[str]) -> bool:
    """Remove what is called so in a directory; whether it is gone."""
    if not names:
        return True
    try:
        parent, part = os.path.split(path)
        outer = opened(parent)
        try:
            descriptor = opened(part, outer)  # not what somebody has mounted over it
            try:
                leftovers.remove(names, descriptor)
            finally:
                os.close(descriptor)
        finally:
            os.close(outer)
    except OSError:
        return False
    return True
