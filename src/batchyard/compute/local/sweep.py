"""Removes the directories of ended attempts in a process of its own, because a large tree must not keep the node from its work.

What is mounted inside one (an operator's disk, a bucket) is never emptied: the directory is left as it is until that is unmounted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from itertools import islice
from pathlib import Path

from batchyard.compute.local import mounted
from batchyard.compute.local.ground import Ground
from batchyard.compute.local.node_log import say

_SUBVOLUME_INODE = 256
_TOLD_MOST = 3  # of the things of one directory that cannot be removed
_AT_ONCE = 10_000  # names that are remembered of one directory: a job may have made any number of files
AGAIN_S = 60.0  # until it is looked again whether what is mounted in a directory is still there
LEFT = ".left-"  # what stood in the way of a mount was moved aside under its name and this


def clear(work: Path, sweeper: Sweeper, ground: Ground) -> None:
    """Have what the attempts of an earlier node left removed, and its notices."""
    for left in work.parent.glob(f"{work.name}{LEFT}*"):
        sweeper.remove(str(left))
    for entry in work.iterdir():
        if entry.is_file():  # the probe of whoever watches over the place
            continue
        if entry.name == "notices":
            for notice in entry.iterdir():
                notice.unlink()
        elif not ground.remove(str(entry)):
            sweeper.remove(str(entry))


class Sweeper:
    """A forked child that removes the paths written to its pipe, and ends when the node does."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._fork()

    def _fork(self) -> None:
        reading, self._writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _live(reading, self._writing)
        os.close(reading)
        os.set_blocking(self._writing, False)

    def remove(self, directory: str) -> None:
        """Have a directory removed, soon."""
        self._waiting += os.fsencode(directory) + b"\0"
        self.push()

    def push(self) -> bool:
        """Hand over what did not fit into the pipe; True when nothing waits."""
        while self._waiting:
            try:
                del self._waiting[: os.write(self._writing, self._waiting[:4096])]
            except BlockingIOError:
                return False
            except BrokenPipeError:  # somebody killed it
                os.close(self._writing)
                self._fork()
        return True

    def abandon(self) -> None:
        """End it at once: all that it was to remove goes with its file system."""
        os.close(self._writing)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def close(self) -> None:
        """Let it finish what it has been given and end by itself."""
        os.close(self._writing)


def _live(reading: int, writing: int) -> None:
    """The child's life. It must not hold the node's lock, sockets and files open: the node's death has to be seen by others."""
    try:
        os.close(writing)
        close_all_but(reading)
        os.nice(10)
        waiting = b""
        kept: set[str] = set()
        while True:
            if kept and not select.select([reading], [], [], AGAIN_S)[0]:
                for path in list(kept):
                    _sweep(path, kept)
                continue
            if not (received := os.read(reading, 65536)):
                return
            *paths, waiting = (waiting + received).split(b"\0")
            for encoded in paths:
                _sweep(os.fsdecode(encoded), kept)
    finally:
        os._exit(0)


def _sweep(path: str, kept: set[str]) -> None:
    """Remove a directory; what cannot be removed yet is in `kept` afterwards, and was told of once."""
    failures = remove_tree(path)
    is_told = path in kept
    kept.discard(path)
    if failures and mounted.below(path):
        kept.add(path)
    if not is_told:
        for failure in failures[:_TOLD_MOST]:
            say(f"cannot remove what a job left: {failure.encode(errors='backslashreplace').decode()}")


def close_all_but(*kept: int) -> None:
    """Close every descriptor but these and the first three."""
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 65536)


def remove_tree(directory: str) -> list[str]:
    """Remove a directory whatever its owner made of it: read-only, deeper than a path may be long. What could not be removed, as sentences.

    Every subdirectory is first moved up, directly below `directory`, so that neither depth nor the length of a path matters. All
    steps go through descriptors and never through a link, so that a process that is still alive in there cannot lead us astray. Nor do
    they go into what is mounted there: where anything is, nothing at all is removed.
    """
    if place := mounted.below(directory):
        return [f"{directory}: something is mounted at {place}; all of it is left as it is until that is unmounted"]
    if _is_gone_as_subvolume(directory):
        return []
    try:
        top = _opened(directory, None)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{directory}: {error.strerror}"]
    removal = _Removal(directory, top)
    try:
        removal.run()
    finally:
        os.close(top)
    try:
        Path(directory).rmdir()
    except OSError as error:
        removal.failed.append(f"{directory}: {error.strerror}")
    return removal.failed


def _is_gone_as_subvolume(directory: str) -> bool:
    """Whether it could be taken away whole: of btrfs subvolumes the kernel clears what is in them."""
    try:
        if os.geteuid() or os.lstat(directory).st_ino != _SUBVOLUME_INODE:
            return False
    except OSError:
        return False
    from batchyard.scratch import subvolumes  # only where there may be one

    return subvolumes.remove(directory)


class _Removal:
    """Empties an open directory."""

    def __init__(self, directory: str, top: int) -> None:
        self.failed: list[str] = []
        self._directory, self._top = directory, top
        self._mount = mounted.mount_of(top)
        self._device = os.fstat(top).st_dev
        self._waiting: list[str] = []  # directories in `top` that are to be removed

    def run(self) -> None:
        self._empty(self._top, self._top, self._waiting)
        for name in self._waiting:  # grows while we walk it
            self._remove(name, self._top, self._waiting)

    def _remove(self, name: str, within: int, waiting: list[str]) -> None:
        """Remove a directory; those in it are moved up, and wait."""
        try:
            place = _opened(name, within, self._mount)
            try:
                if within == self._top and os.fstat(place).st_dev != self._device:  # a subvolume that a job made for itself
                    inside: list[str] = []
                    self._empty(place, place, inside)
                    for each in inside:
                        self._remove(each, place, inside)
                else:
                    self._empty(place, within, waiting)
            finally:
                os.close(place)
            os.rmdir(name, dir_fd=within)
        except OSError as error:
            self.failed.append(f"{self._directory}/{name}: {error.strerror}")

    def _empty(self, place: int, within: int, waiting: list[str]) -> None:
        """Unlink the files of a directory and move its subdirectories up."""
        with os.scandir(place) as entries:
            while found := [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, _AT_ONCE)]:
                for name, is_directory in found:
                    try:
                        if not is_directory:
                            os.unlink(name, dir_fd=place)
                        elif place == self._top:
                            self._waiting.append(name)
                        else:
                            self._move_up(name, place, within, waiting)
                    except OSError as error:
                        self.failed.append(f"{name}: {error.strerror}")

    def _move_up(self, name: str, place: int, within: int, waiting: list[str]) -> None:
        """To the very top; what is in a subvolume does not get out of it, and is moved to `within`, where that begins."""
        aside = f".sweep-{os.urandom(8).hex()}"
        if os.geteuid():
            os.chmod(name, 0o700, dir_fd=place)  # moving a directory rewrites its "..": it has to be writable
        try:
            try:
                os.rename(name, aside, src_dir_fd=place, dst_dir_fd=self._top)
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                os.close(_opened(name, place, self._mount))  # a subvolume that a job closed
                os.rename(name, aside, src_dir_fd=place, dst_dir_fd=self._top)
            self._waiting.append(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            if place == within:
                aside = name
            else:
                os.rename(name, aside, src_dir_fd=place, dst_dir_fd=within)
            waiting.append(aside)


def _opened(name: str, within: int | None, mount: int | None = None) -> int:
    """A descriptor of a directory whose permissions no longer keep us out. OSError for one that does not lie on `mount`."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=within)
    except PermissionError:
        # Without root there is nobody to protect from, and a directory that its owner closed cannot be opened at all.
        if not os.geteuid():
            raise
        os.chmod(name, 0o700, dir_fd=within)
        descriptor = os.open(name, flags, dir_fd=within)
    if mount is not None and mounted.mount_of(descriptor) != mount:
        os.close(descriptor)
        raise OSError(errno.EXDEV, mounted.MOUNTED_THERE)
    if os.geteuid():
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o700)  # or nothing in it can be removed
    if os.fstat(descriptor).st_ino == _SUBVOLUME_INODE:
        from batchyard.scratch import subvolumes  # only where there may be one

        subvolumes.make_writable(descriptor)
    return descriptor
