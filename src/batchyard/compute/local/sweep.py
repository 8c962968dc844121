"""Removes the directories of ended attempts in a process of its own, because a large tree must not keep the node from its work."""

from __future__ import annotations

import contextlib
import os
import signal
from itertools import islice
from pathlib import Path

from batchyard.compute.local.ground import Ground

_SUBVOLUME_INODE = 256
_AT_ONCE = 10_000  # names that are remembered of one directory: a job may have made any number of files
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
        while received := os.read(reading, 65536):
            *paths, waiting = (waiting + received).split(b"\0")
            for path in paths:
                remove_tree(os.fsdecode(path))
    finally:
        os._exit(0)


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
    steps go through descriptors and never through a link, so that a process that is still alive in there cannot lead us astray.
    """
    failed: list[str] = []
    if _is_gone_as_subvolume(directory):
        return []
    try:
        top = _opened(directory, None)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{directory}: {error.strerror}"]
    try:
        waiting = list(_emptied(top, top, failed))
        for name in waiting:  # grows while we walk it
            try:
                place = _opened(name, top)
                try:
                    waiting.extend(_emptied(place, top, failed))
                finally:
                    os.close(place)
                os.rmdir(name, dir_fd=top)
            except OSError as error:
                failed.append(f"{directory}/{name}: {error.strerror}")
    finally:
        os.close(top)
    try:
        Path(directory).rmdir()
    except OSError as error:
        failed.append(f"{directory}: {error.strerror}")
    return failed


def _is_gone_as_subvolume(directory: str) -> bool:
    """Whether it could be taken away whole: of btrfs subvolumes the kernel clears what is in them."""
    try:
        if os.geteuid() or os.lstat(directory).st_ino != _SUBVOLUME_INODE:
            return False
    except OSError:
        return False
    from batchyard.scratch import subvolumes  # only where there may be one

    return subvolumes.remove(directory)


def _emptied(place: int, top: int, failed: list[str]) -> list[str]:
    """Unlink the files of a directory and move its subdirectories up: their names in `top`."""
    below: list[str] = []
    with os.scandir(place) as entries:
        while found := [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, _AT_ONCE)]:
            _take_away(found, place, top, below, failed)
    return below


def _take_away(found: list[tuple[str, bool]], place: int, top: int, below: list[str], failed: list[str]) -> None:
    """Unlink what is no directory, and move up what is one: its name is added to `below`."""
    for name, is_directory in found:
        try:
            if not is_directory:
                os.unlink(name, dir_fd=place)
            elif place == top:
                below.append(name)
            else:
                aside = f".sweep-{os.urandom(8).hex()}"
                if os.geteuid():
                    os.chmod(name, 0o700, dir_fd=place)  # moving a directory rewrites its "..": it has to be writable
                os.rename(name, aside, src_dir_fd=place, dst_dir_fd=top)
                below.append(aside)
        except OSError as error:
            failed.append(f"{name}: {error.strerror}")


def _opened(name: str, within: int | None) -> int:
    """A descriptor of a directory whose permissions no longer keep us out."""
    if os.geteuid():
        # Without root there is nobody to protect from, and a directory that its owner closed cannot be opened at all.
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=within)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
