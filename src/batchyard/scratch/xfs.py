"""An xfs over one loop device, whose file is made larger: it grows while jobs write, and does not shrink."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import msgspec

from batchyard.scratch import loop, tools
from batchyard.scratch.ledger import MEMBER, Book, Ledger, Volume
from batchyard.scratch.loop import Step, no_step
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import ScratchError, Usage

KIND = "loop-xfs"
SMALLEST_BYTES = 300 * MIB  # mkfs.xfs refuses less
_NAME = "volume.img"
_QUICK_S = 60.0


class XfsLoop:
    """One backing file in `store`, its loop device, one xfs at `mount`."""

    can_shrink = False
    volumes_max: int | None = None
    smallest_bytes = 16 * MIB

    def __init__(self, store: Path, mount: Path, initial_bytes: int, *, step: Step = no_step, patience_s: float = 60.0) -> None:
        """`step` is told the name of each step that was done."""
        loop.must_be_root()
        if initial_bytes < SMALLEST_BYTES:
            raise ScratchError(f"an xfs has at least {SMALLEST_BYTES // MIB} MiB: make the initial size larger")
        self._ledger = Ledger(store, patience_s=patience_s)
        self._store, self._mount, self._initial = store, mount, initial_bytes
        self._path = store / _NAME
        self._step = step

    def ensure(self) -> None:
        """See `Backend.ensure`."""
        place = str(self._mount.resolve())
        book = self._ledger.book
        if book is None:
            book = Book(KIND, place, str(uuid.uuid4()), (Volume(_NAME, self._initial),))
            self._write(book, "recorded-first")
        if (book.backend, book.mount) != (KIND, place):
            raise ScratchError(f"{self._store} holds {book.backend} of {book.mount}: give this one a --store of its own")
        lock, volume = self._ledger.lock, book.volumes[0]
        source = loop.mounted_from(self._mount)
        if source is None:
            if volume.state != MEMBER:
                self._make(book)
            device = loop.attach(self._path, lock)
            self._step("attached-first")
            loop.mount("xfs", device, self._mount, "noatime", lock)
            self._step("mounted-first")
        elif source != loop.device_of(self._path):
            raise ScratchError(f"something else is mounted at {self._mount}")
        if volume.state != MEMBER:
            self._write(book.with_volume(Volume(_NAME, volume.size_bytes, MEMBER)), "made")
        if book.growing_to_bytes:
            self._finish()

    def usage(self) -> Usage:
        """See `Backend.usage`. xfs takes what writers have promised off what is free at once."""
        seen = os.statvfs(self._mount)
        used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize
        return Usage(used, seen.f_bavail * seen.f_frsize, None, seen.f_files, seen.f_ffree)

    def volumes(self) -> tuple[int, ...]:
        """See `Backend.volumes`."""
        return (self._book.volumes[0].size_bytes,)

    def grow(self, size_bytes: int) -> None:
        """See `Backend.grow`. One that failed half-way is carried to its end instead of another on top."""
        if self._book.growing_to_bytes:
            self._finish()
            return
        target = self._book.volumes[0].size_bytes + size_bytes
        self._write(msgspec.structs.replace(self._book, growing_to_bytes=target), "recorded")
        self._finish()

    def shrink(self, index: int) -> None:
        """An xfs does not shrink: it is retired as a whole."""
        raise ScratchError("an xfs cannot be made smaller")

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
            loop.unmount(self._mount, self._ledger.lock)
        loop.detach(self._path, self._ledger.lock)
        self._path.unlink(missing_ok=True)
        self._ledger.forget()

    def close(self) -> None:
        """See `Backend.close`."""
        self._ledger.close()

    @property
    def _book(self) -> Book:
        if self._ledger.book is None:
            raise ScratchError(f"{self._store} holds no volume yet")
        return self._ledger.book

    def _write(self, book: Book, step: str) -> None:
        self._ledger.write(book)
        self._step(step)

    def _is_ours(self) -> bool:
        source = loop.mounted_from(self._mount)
        return source is not None and source == loop.device_of(self._path)

    def _make(self, book: Book) -> None:
        """The file and the file system on it, from the beginning: nobody has been able to write there yet."""
        lock = self._ledger.lock
        loop.detach(self._path, lock)
        self._path.unlink(missing_ok=True)
        tools.allocate(self._path, book.volumes[0].size_bytes)
        self._step("allocated-first")
        tools.run(["mkfs.xfs", "-q", "-K", "-f", "-m", f"uuid={book.file_system}", str(self._path)], timeout_s=_QUICK_S, holding=lock)
        self._step("formatted-first")

    def _finish(self) -> None:
        """Carry the grow that is recorded to its end, from wherever it is; or back, where there is no room and the device is as it was."""
        book, lock = self._book, self._ledger.lock
        volume, target = book.volumes[0], book.growing_to_bytes
        device = loop.attach(self._path, lock)
        try:
            if self._path.stat().st_size < target or loop.size_of(device) < target:
                tools.allocate(self._path, target, volume.size_bytes)
            self._step("allocated")
            if loop.size_of(device) < target:
                loop.reread_size(device, target, lock)
            self._step("resized")
            tools.run(["xfs_growfs", str(self._mount)], timeout_s=_QUICK_S, holding=lock)
            self._step("added")
        except ScratchError:
            if loop.size_of(device) <= volume.size_bytes:
                os.truncate(self._path, volume.size_bytes)
                self._write(msgspec.structs.replace(book, growing_to_bytes=0), "undone")
            raise
        self._write(msgspec.structs.replace(book, volumes=(Volume(_NAME, target, MEMBER),), growing_to_bytes=0), "grown")
