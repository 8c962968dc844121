"""A disk that loses what was not synced: it notes every sync of Python and of SQLite, and lays out what a power cut would leave."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest


class Cut(NamedTuple):
    """The power is cut here: what was synced, how many steps had been acknowledged, and whether none was under way."""

    contents: dict[int, bytes]
    names: dict[int, dict[str, int]]
    told: int
    between: bool


class Medium:
    """What a power cut leaves: of a file the bytes at its last sync, of a folder the names at its last sync.

    `cuts` holds one for each sync since `begin`, and one for each step that was `acknowledged`. Files and folders go by numbers of
    their own, because a file system gives the inode of a removed file to the next one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cuts: list[Cut] = []
        self._lock = threading.RLock()
        self._ids: dict[int, int] = {}
        self._last_id = 0
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._told = 0
        self._recording = False

    def sync(self, path: str) -> None:
        """A file or a folder was synced."""
        if not path.startswith(str(self.root)):
            return
        with self._lock:
            status = Path(path).stat()
            if stat.S_ISDIR(status.st_mode):
                self._names[self._id(status.st_ino)] = {entry.name: self._id(entry.inode()) for entry in os.scandir(path)}
                for entry in os.scandir(path):
                    if entry.is_dir():
                        self._names.setdefault(self._id(entry.inode()), {})
            else:
                self._contents[self._id(status.st_ino)] = Path(path).read_bytes()
            self._note(between=False)

    def remove(self, path: Any, dir_fd: int | None, act: Callable[[], None]) -> None:
        """Carry out `act`, which takes the name `path` away or gives it to something else."""
        with self._lock:
            inode = None
            with contextlib.suppress(OSError):
                status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
                inode = status.st_ino if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1 else None
            act()
            if inode is not None:
                self._ids.pop(inode, None)

    def begin(self) -> None:
        """From here on every sync is a moment at which the power may be cut."""
        self._recording = True

    def acknowledged(self) -> None:
        """Another step is over: all that it did must last."""
        with self._lock:
            self._told += 1
            self._note(between=True)

    def end(self) -> None:
        self._recording = False

    def _note(self, between: bool) -> None:
        if self._recording:
            self.cuts.append(Cut(dict(self._contents), {folder: dict(names) for folder, names in self._names.items()}, self._told, between))

    def _id(self, inode: int) -> int:
        if inode not in self._ids:
            self._last_id += 1
            self._ids[inode] = self._last_id
        return self._ids[inode]

    def lay_out(self, cut: Cut, to: Path) -> Path:
        """The folder as it is found after the cut, at `to`."""
        self._lay_out(cut, self._ids[self.root.stat().st_ino], to)
        return to

    def _lay_out(self, cut: Cut, folder: int, to: Path) -> None:
        to.mkdir()
        for name, id in cut.names.get(folder, {}).items():
            if id in cut.names:
                self._lay_out(cut, id, to / name)
            elif not name.endswith("-shm"):
                (to / name).write_bytes(cut.contents.get(id, b""))

    def check(self, states: list[Any], found_in: Callable[[Path], Any], dice: random.Random, aside: Path, most: int = 25) -> None:
        """After a cut, `found_in` the folder is what was acknowledged, `states[n]` after n steps; or the step under way is there as a
        whole. Checked for the last moment and some others."""
        self.end()
        assert len(states) == self._told + 1
        last = self.cuts.pop()
        chosen = [*dice.sample(self.cuts, min(most, len(self.cuts))), last]
        for number, cut in enumerate(chosen):
            found = found_in(self.lay_out(cut, aside / f"left-{number}"))
            possible = states[cut.told : cut.told + (1 if cut.between else 2)]
            assert found in possible, f"after {cut.told} steps, {'between two' if cut.between else 'in the midst of one'}"


class Disk(apsw.VFS):
    """SQLite's way to the medium."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        super().__init__("medium", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        return File(self.medium, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.medium.remove(filename, None, lambda: apsw.VFS.xDelete(self, filename, syncdir))
        if syncdir:
            self.medium.sync(str(Path(filename).parent))


class File(apsw.VFSFile):
    """An open file of SQLite; the unix VFS syncs the folder with the first sync of a journal or log that it made."""

    def __init__(self, medium: Medium, name: Any, flags: list[int]) -> None:
        self.path = str(name.filename() if hasattr(name, "filename") else name or "")
        self.is_new_log = bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL)) and not Path(self.path).exists()
        super().__init__("unix", name, flags)
        self.medium = medium

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self.path:
            self.medium.sync(self.path)
            if self.is_new_log:
                self.is_new_log = False
                self.medium.sync(str(Path(self.path).parent))


@contextlib.contextmanager
def medium_at(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Medium]:
    """A medium that notes what happens to the folder `root`, which is made."""
    root.mkdir()
    medium = Medium(root)
    for name in ("fsync", "fdatasync"):
        patch.setattr(os, name, _synced(medium, getattr(os, name)))
    for name in ("unlink", "remove", "rmdir"):
        patch.setattr(os, name, _gone(medium, getattr(os, name)))
    for name in ("rename", "replace"):
        patch.setattr(os, name, _moved(medium, getattr(os, name)))
    disk = Disk(medium)
    sync_root = os.open(root, os.O_RDONLY)
    os.fsync(sync_root)
    os.close(sync_root)
    try:
        yield medium
    finally:
        disk.unregister()


def _synced(medium: Medium, real: Callable[[int], None]) -> Callable[[int], None]:
    def call(handle: int) -> None:
        real(handle)
        medium.sync(str(Path(f"/proc/self/fd/{handle}").readlink()))

    return call


def _gone(medium: Medium, real: Callable[..., None]) -> Callable[..., None]:
    def call(path: Any, *, dir_fd: int | None = None) -> None:
        medium.remove(path, dir_fd, lambda: real(path, dir_fd=dir_fd))

    return call


def _moved(medium: Medium, real: Callable[..., None]) -> Callable[..., None]:
    def call(source: Any, target: Any, **places: Any) -> None:
        medium.remove(target, places.get("dst_dir_fd"), lambda: real(source, target, **places))

    return call
