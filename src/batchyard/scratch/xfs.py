"""An xfs on one disk that is made larger: it grows while jobs write, and does not shrink."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from msgspec.structs import replace

from batchyard.scratch import loop, mounts, tools
from batchyard.scratch.disks import Disks, opened
from batchyard.scratch.ledger import MEMBER, Book, Ledger, Volume
from batchyard.scratch.loop import LoopDisks, Step, no_step
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import NoRoom, ScratchError, Usage

KIND = "loop-xfs"
SMALLEST_BYTES = 300 * MIB  # mkfs.xfs refuses less
_LEAST = 16 * MIB  # to grow by
_REMEMBERED = 8
_ALL_MAY_BE_INODES = ("-i", "maxpct=0")  # else many small files would meet a full disk with three quarters of it free
log = logging.getLogger(__name__)
_QUICK_S = 60.0
_OPTIONS = "noatime,allocsize=4m"  # else a file that grows takes up to gigabytes ahead at once, which no rate tells of


class Xfs:
    """One disk, and an xfs on it at `mount`."""

    can_shrink = False
    volumes_max: int | None = None

    def __init__(self, ledger: Ledger, disks: Disks, mount: Path, initial_bytes: int, *, step: Step = no_step) -> None:
        """`step` is told the name of each step that was done."""
        if initial_bytes < SMALLEST_BYTES:
            raise ScratchError(f"an xfs has at least {SMALLEST_BYTES // MIB} MiB: make the initial size larger")
        self._ledger, self._disks = ledger, disks
        self._mount, self._initial = mount, initial_bytes
        self._step = step
        self.unit_bytes = disks.unit_bytes
        self.smallest_bytes = max(_LEAST, disks.unit_bytes)
        self.largest_bytes: int | None = None  # of one grow; the disk as a whole is checked when it is asked for

    def is_up(self) -> bool:
        """See `Backend.is_up`."""
        return self._ledger.book is not None and self._is_ours()

    def ensure(self) -> None:
        """See `Backend.ensure`."""
        if self._ledger.book is None:
            tools.can_make("xfs")
        book, is_new = opened(self._ledger, self._disks, "xfs", self._mount, self._initial)
        if is_new:
            self._write(book, "recorded-first")
        source = mounts.mounted_from(self._mount)
        if source is None:
            device = self._found() if book.volumes[0].state == MEMBER else self._make()
            self._step("attached-first")
            mounts.mount("xfs", device, self._mount, _OPTIONS, self._ledger.lock)
            self._step("mounted-first")
        elif not self._is_ours():
            raise ScratchError(f"something else is mounted at {self._mount}")
        if self._volume.state != MEMBER:
            self._write(self._book.with_volume(replace(self._volume, state=MEMBER)), "made")
        if self._book.growing_to_bytes:
            try:
                self._finish()
            except ScratchError as error:
                log.error("a grow that was under way cannot be finished for now: %s", error)
        self._disks.sweep(self._book.volumes, set())

    def usage(self) -> Usage:
        """See `Backend.usage`. xfs takes what writers have promised off what is free at once."""
        seen = os.statvfs(self._mount)
        used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize
        return Usage(used, seen.f_bavail * seen.f_frsize, None, seen.f_files, seen.f_ffree)

    def volumes(self) -> tuple[int, ...]:
        """See `Backend.volumes`."""
        return (self._volume.size_bytes,)

    def grows_left(self) -> int | None:
        """See `Backend.grows_left`. One that is under way may be carried to its end."""
        return None if self._book.growing_to_bytes else self._disks.grows_left(self._book)

    def room_bytes(self) -> int | None:
        """See `Backend.room_bytes`."""
        return self._disks.room_bytes()

    def grow(self, size_bytes: int) -> None:
        """See `Backend.grow`. One that failed half-way is carried to its end instead of another on top."""
        if self._book.growing_to_bytes:
            self._finish()
            return
        target = self._volume.size_bytes + size_bytes
        if target > self._disks.largest_bytes:
            raise NoRoom(f"one volume has at most {self._disks.largest_bytes} bytes, not {target}")
        self._write(replace(self._book, growing_to_bytes=target), "recorded")
        self._finish()

    def shrink(self, index: int) -> None:
        """An xfs does not shrink: it is retired as a whole."""
        raise ScratchError("an xfs cannot be made smaller")

    def stop_shrinking(self) -> None:
        """See `Backend.stop_shrinking`: it never shrinks."""

    def owes_sweep(self) -> bool:
        """See `Backend.owes_sweep`."""
        return self._disks.owes_sweep()

    def sweep(self) -> None:
        """See `Backend.sweep`."""
        self._disks.sweep(self._book.volumes, set())

    def probe(self) -> None:
        """See `Backend.probe`."""
        if not self._is_ours():
            raise ScratchError(f"the scratch space is not mounted at {self._mount}")
        tools.probe(self._mount, 30.0)

    def retire(self) -> None:
        """See `Backend.retire`."""
        if self._ledger.book is None:
            return
        if self._is_ours():
            mounts.unmount(self._mount, self._ledger.lock)
        mounts.weigh(self._mount, self._ledger.lock)
        found = self._disks.find(self._volume)
        if found is not None:
            self._disks.detach(found)
            self._disks.delete(found)
        self._ledger.forget()

    def close(self) -> None:
        """See `Backend.close`."""
        self._ledger.close()

    @property
    def _book(self) -> Book:
        if self._ledger.book is None:
            raise ScratchError(f"{self._ledger.folder} holds no volume yet")
        return self._ledger.book

    @property
    def _volume(self) -> Volume:
        return self._book.volumes[0]

    def _write(self, book: Book, step: str) -> None:
        self._ledger.write(book)
        self._step(step)

    def _is_ours(self) -> bool:
        source = mounts.mounted_from(self._mount)
        return source is not None and source == self._disks.device_of(self._volume)

    def _found(self) -> str:
        """The device of the disk that was made earlier."""
        found = self._disks.find(self._volume)
        if found is None:
            raise ScratchError(
                f"{self._volume.id or self._volume.name}, on which {self._mount} was, is not there any more:"
                " what it held is lost, and `batchyard scratch retire` forgets it"
            )
        return self._disks.attach(found)

    def _make(self) -> str:
        """The disk and the file system on it, from the beginning: nobody has been able to write there yet."""
        made = self._disks.make(self._volume)
        self._step("allocated-first")
        if made != self._volume:
            self._write(self._book.with_volume(made), "identified")
        device = self._disks.attach(made)
        self._run(["mkfs.xfs", "-q", "-K", "-f", *_ALL_MAY_BE_INODES, "-m", f"uuid={self._book.file_system}", device])
        self._step("formatted-first")
        return device

    def _finish(self) -> None:
        """Carry the grow that is recorded to its end, from wherever it is; or back, where there is no room and the disk is as it was."""
        volume, target = self._volume, self._book.growing_to_bytes
        try:
            self._disks.enlarge(volume, target)
            self._step("resized")
            with mounts.table(self._mount) as table:
                self._run(["xfs_growfs", "-t", table, str(self._mount)])
            self._step("added")
        except ScratchError:
            if self._disks.take_back(volume):
                self._write(replace(self._book, growing_to_bytes=0), "undone")
            raise
        grown = replace(self._book, growing_to_bytes=0, enlarged_at_s=(*self._book.enlarged_at_s, time.time())[-_REMEMBERED:])
        self._write(grown.with_volume(replace(volume, size_bytes=target, state=MEMBER)), "grown")

    def _run(self, argv: list[str]) -> None:
        tools.run(argv, timeout_s=_QUICK_S, holding=self._ledger.lock)


class XfsLoop(Xfs):
    """One backing file in `store`, its loop device, one xfs at `mount`."""

    def __init__(self, store: Path, mount: Path, initial_bytes: int, *, step: Step = no_step, patience_s: float = 60.0) -> None:
        """`patience_s`: how long to wait for the commands of a dead daemon; the others as `Xfs` has them."""
        loop.must_be_root()
        ledger = Ledger(store, patience_s=patience_s)
        super().__init__(ledger, LoopDisks(ledger, step), mount, initial_bytes, step=step)
