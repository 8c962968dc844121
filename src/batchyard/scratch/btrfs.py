"""A btrfs over loop devices: grows by another device, shrinks by one less, both while jobs write."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from batchyard.scratch import loop, tools
from batchyard.scratch.ledger import MAKING, MEMBER, REMOVING, Book, Ledger, Volume
from batchyard.scratch.loop import Step, no_step
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import ScratchError, Usage

KIND = "loop-btrfs"
_SYSFS = Path("/sys/fs/btrfs")
_OPTIONS = "noatime,nodiscard"  # discarding would give the blocks of the backing file back, which somebody else could take
_LOST_PER_DEVICE = 2 * MIB  # the head of each device, and what is too little for a chunk
_QUICK_S = 60.0


class BtrfsLoop:
    """Backing files in `store`, one loop device on each, one btrfs of them all at `mount`."""

    can_shrink = True
    volumes_max: int | None = 16
    smallest_bytes = 32 * MIB

    def __init__(
        self,
        store: Path,
        mount: Path,
        initial_bytes: int,
        *,
        step: Step = no_step,
        remove_timeout_s: float = 3600.0,
        patience_s: float = 60.0,
    ) -> None:
        """`step` is told the name of each step that was done; `remove_timeout_s` bounds the moving of what a removed volume holds."""
        loop.must_be_root()
        self._ledger = Ledger(store, patience_s=patience_s)
        self._store, self._mount, self._initial = store, mount, initial_bytes
        self._step = step
        self._remove_timeout_s = remove_timeout_s

    def ensure(self) -> None:
        """See `Backend.ensure`."""
        book = self._ledger.book
        if book is None:
            first = Volume(_name(0), self._initial)
            book = Book(KIND, str(self._mount.resolve()), str(uuid.uuid4())).with_volume(first)
            self._write(book, "recorded-first")
        if (book.backend, book.mount) != (KIND, str(self._mount.resolve())):
            raise ScratchError(f"{self._store} holds {book.backend} of {book.mount}: give this one a --store of its own")
        if loop.mounted_from(self._mount) is None:
            self._bring_up()
        elif not self._is_ours():
            raise ScratchError(f"something else is mounted at {self._mount}")
        self._settle()

    def usage(self) -> Usage:
        """See `Backend.usage`. What writers have promised to the page cache counts as used: `df` would tell of it half a minute later."""
        allocation = _SYSFS / self._book.file_system / "allocation"
        kinds = {kind: {name: _number(allocation / kind / name) for name in _TAKEN} for kind in ("data", "metadata")}
        disks = sum(_number(allocation / kind / "disk_total") for kind in ("data", "metadata", "system"))
        devices = self._devices()
        unallocated = sum(loop.size_of(device) - _LOST_PER_DEVICE for device in devices) - disks
        left = {}
        for kind, taken in kinds.items():
            left[kind] = _number(allocation / kind / "total_bytes") - sum(taken.values())
        free = max(0, left["data"] + unallocated)
        used = sum(kinds["data"].values())
        return Usage(used, free, max(0, left["metadata"] + max(0, unallocated)))

    def volumes(self) -> tuple[int, ...]:
        """See `Backend.volumes`. A volume that is being made counts: it has its bytes."""
        return tuple(one.size_bytes for one in self._book.volumes)

    def grow(self, size_bytes: int) -> None:
        """See `Backend.grow`."""
        if any(one.state != MEMBER for one in self._book.volumes):
            self._settle()  # what an earlier failure left
        book = self._book
        volume = Volume(_name(book.number), size_bytes)
        self._write(book.with_volume(volume), "recorded")
        path = self._store / volume.name
        try:
            tools.allocate(path, size_bytes)
            self._step("allocated")
            device = loop.attach(path, self._ledger.lock)
            self._step("attached")
            tools.run(["btrfs", "device", "add", "-K", "-f", device, str(self._mount)], timeout_s=_QUICK_S, holding=self._ledger.lock)
            self._step("added")
        except ScratchError:
            self._settle()
            raise
        self._write(self._book.with_volume(Volume(volume.name, size_bytes, MEMBER)), "grown")

    def shrink(self, index: int) -> None:
        """See `Backend.shrink`."""
        volume = self._book.volumes[index]
        if index == 0:
            raise ScratchError("the first volume is never given back")
        path = self._store / volume.name
        self._write(self._book.with_volume(Volume(volume.name, volume.size_bytes, REMOVING)), "recorded")
        try:
            device = loop.device_of(path)
            if device is None:
                raise ScratchError(f"there is no loop device on {path}")
            tools.run(["btrfs", "device", "remove", device, str(self._mount)], timeout_s=self._remove_timeout_s, holding=self._ledger.lock)
            self._step("removed")
        except ScratchError:
            self._settle()
            raise
        self._drop(volume)

    def probe(self) -> None:
        """See `Backend.probe`."""
        if not self._is_ours():
            raise ScratchError(f"the scratch space is not mounted at {self._mount}")
        tools.probe(self._mount, 30.0)

    def retire(self) -> None:
        """See `Backend.retire`."""
        book = self._ledger.book
        if book is None:
            return
        if loop.mounted_from(self._mount) is not None and self._is_ours():
            loop.unmount(self._mount, self._ledger.lock)
        for volume in reversed(book.volumes):
            self._drop(volume)
        self._ledger.forget()

    def close(self) -> None:
        """See `Backend.close`."""
        self._ledger.close()

    @property
    def _book(self) -> Book:
        if self._ledger.book is None:
            raise ScratchError(f"{self._store} holds no volumes yet")
        return self._ledger.book

    def _write(self, book: Book, step: str) -> None:
        self._ledger.write(book)
        self._step(step)

    def _is_ours(self) -> bool:
        """Whether our file system is what is mounted at our place."""
        source = loop.mounted_from(self._mount)
        return source is not None and source in self._devices()

    def _devices(self) -> set[str]:
        """The devices that the kernel says our mounted file system has."""
        folder = _SYSFS / self._book.file_system / "devices"
        with contextlib.suppress(FileNotFoundError):
            return {f"/dev/{entry.name}" for entry in folder.iterdir()}
        return set()

    def _bring_up(self) -> None:
        """Mount: the first time made anew, after a restart of the machine with all its devices."""
        book, lock = self._book, self._ledger.lock
        first = book.volumes[0]
        if first.state == MAKING:
            path = self._store / first.name
            loop.detach(path, lock)
            path.unlink(missing_ok=True)
            tools.allocate(path, first.size_bytes)
            self._step("allocated-first")
            argv = ["mkfs.btrfs", "-q", "-K", "-f", "-U", book.file_system, "-d", "single", "-m", "single", str(path)]
            tools.run(argv, timeout_s=_QUICK_S, holding=lock)
            self._step("formatted-first")
        devices = []
        for volume in book.volumes:
            path = self._store / volume.name
            if path.exists() and _file_system_on(path) == book.file_system:
                device = loop.attach(path, lock)
                tools.run(["btrfs", "device", "scan", device], timeout_s=_QUICK_S, holding=lock)
                devices.append(device)
        self._step("attached-first")
        if not devices:
            raise ScratchError(f"none of the volumes that {self._store} records holds its file system {book.file_system}")
        options = ",".join([_OPTIONS, *(f"device={device}" for device in devices)])
        loop.mount("btrfs", devices[0], self._mount, options, lock)
        self._step("mounted-first")

    def _settle(self) -> None:
        """Make the record agree with the kernel: what it has is a member, what it has not goes, and so do devices of nobody."""
        present = self._devices()
        for volume in self._book.volumes:
            device = loop.device_of(self._store / volume.name)
            if device is not None and device in present:
                if volume.state != MEMBER:
                    self._write(self._book.with_volume(Volume(volume.name, volume.size_bytes, MEMBER)), "settled")
            elif volume.state == MEMBER:
                raise ScratchError(f"{volume.name} is recorded as a part of the file system at {self._mount}, which does not have it")
            else:
                self._drop(volume)
        owned = {str((self._store / volume.name).resolve()) for volume in self._book.volumes}
        inside = f"{self._store.resolve()}/"
        for device, backing in loop.attached().items():
            if backing.startswith(inside) and backing not in owned and device not in present:
                tools.run(["losetup", "--detach", device], timeout_s=20, holding=self._ledger.lock)

    def _drop(self, volume: Volume) -> None:
        """The device, the file and the record, in this order: each step can be repeated."""
        path = self._store / volume.name
        loop.detach(path, self._ledger.lock)
        self._step("detached")
        path.unlink(missing_ok=True)
        tools.sync_folder(self._store)
        self._step("unlinked")
        self._write(self._book.without(volume.name), "forgotten")


_TAKEN = ("bytes_used", "bytes_may_use", "bytes_reserved", "bytes_pinned", "bytes_readonly")


def _name(number: int) -> str:
    return f"volume-{number:04}.img"


def _number(path: Path) -> int:
    with open(path, "rb", buffering=0) as entry:
        return int(entry.read(32))


def _file_system_on(path: Path) -> str | None:
    """The UUID in the btrfs superblock of a file; None where there is none."""
    with open(path, "rb") as file:
        file.seek(65536)
        block = file.read(72)
    return str(uuid.UUID(bytes=block[32:48])) if block[64:72] == b"_BHRfS_M" else None
