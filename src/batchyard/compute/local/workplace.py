"""The place where the directories of jobs are made, and who may pass through to it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

from batchyard.compute.local.sweep import LEFT

_OURS = "batchyard-"
_GET_FLAGS, _SET_FLAGS, _TOP_OF_TREE = 0x80086601, 0x40086602, 0x20000  # what chattr +T does
ELSEWHERE = Path("/var/tmp")  # only ever a directory of our own in it, see `_work_elsewhere`


def make_work(directory: Path, wanted: Path | None, name: str, isolated: bool) -> Path:
    """Make the place for the jobs' directories: `wanted`, or DIR/work, or, if other users cannot get there, one in /var/tmp.

    Isolated jobs have user ids of their own and must get through to it: DIR lets them pass (0711) but not look, and all else in it
    is closed to them.
    """
    work = wanted or directory / "work"
    if isolated and wanted is None:
        close_to_others(directory)
        if closed_ancestor(directory):
            work = _work_elsewhere(name)
    work.mkdir(mode=0o711 if isolated else 0o700, exist_ok=True)
    if not os.path.ismount(work):  # what an earlier node has mounted there may be sick: whoever watches over it sees to that
        furnish(work, isolated)
    return work


def furnish(work: Path, isolated: bool) -> None:
    """Have in the place for the jobs' directories what has to be there, also if something was mounted there just now."""
    if isolated:
        work.chmod(0o711)
    (work / "notices").mkdir(mode=0o711, exist_ok=True)


def clear_the_way(work: Path) -> None:
    """Move aside what lies where something is to be mounted: an attempt's leftovers, which are swept then."""
    if os.path.ismount(work):
        return
    with contextlib.suppress(OSError):
        (work / "notices").rmdir()
    if any(work.iterdir()):
        mode = work.stat().st_mode
        aside = work.with_name(f"{work.name}{LEFT}{os.urandom(4).hex()}")
        try:
            work.rename(aside)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            from batchyard.scratch import mounts  # rarely needed

            mounts.weigh(work)  # what was mounted there was unmounted by somebody, but for its anchor
            work.rename(aside)
        work.mkdir()
        work.chmod(stat.S_IMODE(mode))


def make_logs(directory: Path) -> None:
    """Make the folder of all logs, for us alone, and ask ext4 to put what is made in it where there is much room.

    Each attempt makes a file there. ext4 makes new files near their folder and looks past the number of every file that was removed
    from there in the last minute, one by one: next to a folder that lives a busy life that took ten times as long as anywhere else.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    if sys.platform.startswith("linux"):
        import fcntl

        descriptor = os.open(directory, os.O_RDONLY)
        try:
            flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)), sys.byteorder)
            fcntl.ioctl(descriptor, _SET_FLAGS, (flags | _TOP_OF_TREE).to_bytes(8, sys.byteorder))
        except OSError:
            pass  # another file system: it has no such habit
        finally:
            os.close(descriptor)


def close_to_others(directory: Path) -> None:
    """Let other users pass through DIR, but see nothing in it but `work`."""
    directory.chmod(0o711)
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # the server is at work here: a draft takes its place
                mode = entry.stat(follow_symlinks=False).st_mode
                if entry.name != "work" and mode & 0o077 and not stat.S_ISLNK(mode):
                    Path(entry.path).chmod(stat.S_IMODE(mode) & 0o700)


def closed_ancestor(directory: Path) -> Path | None:
    """The first directory above that other users may not pass through."""
    for above in reversed(directory.parents):
        if above.exists() and not above.stat().st_mode & stat.S_IXOTH:
            return above
    return None


def is_elsewhere(work: Path) -> bool:
    """Whether the jobs' directories lie outside of DIR because other users cannot get into it."""
    return work.parent == ELSEWHERE and work.name.startswith(_OURS)


def _work_elsewhere(name: str) -> Path:
    """A directory that is certainly ours in a place where everybody may write."""
    work = ELSEWHERE / f"{_OURS}{name}"
    work.mkdir(mode=0o711, exist_ok=True)
    found = work.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{work} belongs to somebody else: choose another data directory")
    return work
