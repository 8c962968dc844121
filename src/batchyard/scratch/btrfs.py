"""A btrfs over several disks: grows by another disk, shrinks by one less, both while jobs write."""

from __future__ import annotations

import contextlib
import logging
import uuid
from pathlib import Path

from msgspec.structs import replace

from batchyard.scratch import chunks, loop, mounts, tools
from batchyard.scratch.disks import Disks, opened
from batchyard.scratch.ledger import MAKING, MEMBER, REMOVING, Book, Ledger, Volume
from batchyard.scratch.loop import LoopDisks, Step, no_step
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import ScratchError, Usage

KIND = "loop-btrfs"
_SMALLEST = 32 * MIB
_SYSFS = Path("/sys/fs/btrfs")
_OPTIONS = "noatime,nodiscard"  # discarding would give the blocks of the backing file back, which somebody else could take
_LOST_PER_DEVICE = 2 * MIB  # the head of each device, and what is too little for a chunk
_QUICK_S = 60.0
log = logging.getLogger(__name__)


class Btrfs:
    """One btrfs at `mount`, of all the disks that the ledger has."""

    can_shrink = True

    def __init__(
        self,
        ledger: Ledger,
        disks: Disks,
        mount: Path,
        initial_bytes: int,
        *,
        step: Step = no_step,
        remove_timeout_s: float = 3600.0,
    ) -> None:
        """`step` is told the name of each step that was done; `remove_timeout_s` bounds the moving of what a removed volume holds."""
        self._ledger, self._disks = ledger, disks
        self._mount, self._initial = mount, initial_bytes
        self._step = step
        self._remove_timeout_s = remove_timeout_s
        self.volumes_max: int | None = disks.volumes_max
        self.smallest_bytes = max(_SMALLEST, disks.smallest_bytes)
        self.largest_bytes: int | None = disks.largest_bytes
        self.unit_bytes = disks.unit_bytes

    def is_up(self) -> bool:
        """See `Backend.is_up`."""
        return self._ledger.book is not None and self._is_ours()

    def ensure(self) -> None:
        """See `Backend.ensure`."""
        if self._ledger.book is None:
            tools.can_make("btrfs")
        book, is_new = opened(self._ledger, self._disks, "btrfs", self._mount, self._initial)
        if is_new:
            self._write(book, "recorded-first")
        if mounts.mounted_from(self._mount) is None:
            self._bring_up()
        elif not self._is_ours():
            raise ScratchError(f"something else is mounted at {self._mount}")
        if self._book.volumes[0].state == MAKING:
            chunks.set_aside_for_metadata(self._mount)
            self._step("set-aside-first")
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
        used = sum(kinds["data"].values()) + kinds["metadata"]["bytes_used"]  # small files lie in the metadata
        return Usage(used, free, max(0, left["metadata"] + max(0, unallocated)))

    def volumes(self) -> tuple[int, ...]:
        """See `Backend.volumes`. A volume that is being made counts: it has its bytes."""
        return tuple(one.size_bytes for one in self._book.volumes)

    def grows_left(self) -> int | None:
        """See `Backend.grows_left`: by another disk, always."""
        return None

    def room_bytes(self) -> int | None:
        """See `Backend.room_bytes`."""
        return self._disks.room_bytes()

    def grow(self, size_bytes: int) -> None:
        """See `Backend.grow`."""
        if any(one.state != MEMBER for one in self._book.volumes):
            self._settle()  # what an earlier failure left
        volume = Volume(self._disks.name(self._book), size_bytes)
        self._write(self._book.with_volume(volume), "recorded")
        try:
            volume = self._made(volume, "allocated")
            device = self._disks.attach(volume)
            self._step("attached")
            self._run(["btrfs", "device", "add", "-K", "-f", device, str(self._mount)], _QUICK_S)
            self._step("added")
        except ScratchError:
            self._settle()
            raise
        self._write(self._book.with_volume(replace(self._book.volume(volume.name), state=MEMBER)), "grown")

    def shrink(self, index: int) -> None:
        """See `Backend.shrink`."""
        volume = self._book.volumes[index]
        if index == 0:
            raise ScratchError("the first volume is never given back")
        self._write(self._book.with_volume(replace(volume, state=REMOVING)), "recorded")
        try:
            device = self._disks.device_of(volume)
            if device is None:
                raise ScratchError(f"this machine has no device of {volume.id or volume.name}")
            self._run(["btrfs", "device", "remove", device, str(self._mount)], self._remove_timeout_s)
            self._step("removed")
        except ScratchError:
            self._settle()
            raise
        self._drop(volume)

    def stop_shrinking(self) -> None:
        """See `Backend.stop_shrinking`. What was moved already stays where it is now."""
        with contextlib.suppress(ScratchError):  # none is being removed (any more)
            self._run(["btrfs", "device", "remove", "cancel", str(self._mount)], _QUICK_S)

    def owes_sweep(self) -> bool:
        """See `Backend.owes_sweep`."""
        return self._disks.owes_sweep()

    def sweep(self) -> None:
        """See `Backend.sweep`."""
        self._disks.sweep(self._book.volumes, self._devices())

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
        if mounts.mounted_from(self._mount) is not None and self._is_ours():
            mounts.unmount(self._mount, self._ledger.lock)
        mounts.weigh(self._mount, self._ledger.lock)
        for volume in reversed(book.volumes):
            self._drop(volume)
        self._ledger.forget()

    def close(self) -> None:
        """See `Backend.close`."""
        self._ledger.close()

    @property
    def _book(self) -> Book:
        if self._ledger.book is None:
            raise ScratchError(f"{self._ledger.folder} holds no volumes yet")
        return self._ledger.book

    def _write(self, book: Book, step: str) -> None:
        self._ledger.write(book)
        self._step(step)

    def _is_ours(self) -> bool:
        """Whether our file system is what is mounted at our place."""
        source = mounts.mounted_from(self._mount)
        return source is not None and source in self._devices()

    def _devices(self) -> set[str]:
        """The devices that the kernel says our mounted file system has."""
        folder = _SYSFS / self._book.file_system / "devices"
        with contextlib.suppress(FileNotFoundError):
            return {f"/dev/{entry.name}" for entry in folder.iterdir()}
        return set()

    def _made(self, volume: Volume, step: str) -> Volume:
        """The disk, and what is to be known of it on record."""
        made = self._disks.make(volume)
        self._step(step)
        if made != volume:
            self._write(self._book.with_volume(made), "identified")
        return made

    def _bring_up(self) -> None:
        """Mount: the first time made anew, after a restart of the machine with all its devices."""
        first, fresh = self._book.volumes[0], None
        if first.state == MAKING:
            first = self._made(first, "allocated-first")
            fresh = device = self._disks.attach(first)
            self._run(["wipefs", "--all", "--quiet", device], _QUICK_S)  # else a UUID of an earlier attempt counts as taken
            argv = ["mkfs.btrfs", "-q", "-K", "-f", "-U", self._book.file_system, "-d", "single", "-m", "single", device]
            self._run(argv, _QUICK_S)
            self._step("formatted-first")
        devices = {}
        for volume in self._book.volumes:
            found = self._disks.find(volume)
            if found is None:
                continue
            device = fresh if fresh is not None and volume.name == first.name else self._disks.attach(found)
            if _file_system_on(Path(device)) == self._book.file_system:
                self._run(["btrfs", "device", "scan", device], _QUICK_S)
                devices[volume.name] = device
        self._step("attached-first")
        lost = [one.id or one.name for one in self._book.volumes if one.name not in devices and (one.state == MEMBER or not devices)]
        if lost:
            raise ScratchError(
                f"{', '.join(lost)} of {self._mount} is not there any more, or holds something else: what was there is lost, and"
                " `batchyard scratch retire` takes away what is left"
            )
        options = ",".join([_OPTIONS, *(f"device={device}" for device in devices.values())])
        mounts.mount("btrfs", next(iter(devices.values())), self._mount, options, self._ledger.lock)
        self._step("mounted-first")

    def _settle(self) -> None:
        """Make the record agree with the kernel: what it has is a member, what it has not goes, and so do disks of nobody."""
        present = self._devices()
        for volume in self._book.volumes:
            device = self._disks.device_of(volume)
            if device is not None and device in present:
                if volume.state != MEMBER:
                    self._write(self._book.with_volume(replace(volume, state=MEMBER)), "settled")
            elif volume.state == MEMBER:
                raise ScratchError(
                    f"{volume.id or volume.name} is recorded as a part of the file system at {self._mount}, which does not have it"
                )
            else:
                self._drop_if_possible(volume)
        self._disks.sweep(self._book.volumes, present)

    def _drop_if_possible(self, volume: Volume) -> None:
        """One that cannot be got rid of stays on record, is tried again, and does not keep others from coming."""
        try:
            self._drop(volume)
        except ScratchError as error:
            log.error("%s is not a part of the file system, and cannot be taken away for now: %s", volume.id or volume.name, error)

    def _drop(self, volume: Volume) -> None:
        """The device, the disk and the record, in this order: each step can be repeated."""
        found = self._disks.find(volume)
        if found is not None:
            self._disks.detach(found)
            self._step("detached")
            self._disks.delete(found)
            self._step("unlinked")
        self._write(self._book.without(volume.name), "forgotten")

    def _run(self, argv: list[str], timeout_s: float) -> None:
        tools.run(argv, timeout_s=timeout_s, holding=self._ledger.lock)


class BtrfsLoop(Btrfs):
    """Backing files in `store`, one loop device on each, one btrfs of them all at `mount`."""

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
        """`patience_s`: how long to wait for the commands of a dead daemon; the others as `Btrfs` has them."""
        loop.must_be_root()
        ledger = Ledger(store, patience_s=patience_s)
        super().__init__(ledger, LoopDisks(ledger, step), mount, initial_bytes, step=step, remove_timeout_s=remove_timeout_s)


# In the order in which what is written goes from one to the next: what is written back between two readings is not missed.
_TAKEN = ("bytes_may_use", "bytes_reserved", "bytes_used", "bytes_pinned", "bytes_readonly")


def _number(path: Path) -> int:
    with open(path, "rb", buffering=0) as entry:
        return int(entry.read(32))


def _file_system_on(path: Path) -> str | None:
    """The UUID in the btrfs superblock of a device; None where there is none."""
    with open(path, "rb") as file:
        file.seek(65536)
        block = file.read(72)
    return str(uuid.UUID(bytes=block[32:48])) if block[64:72] == b"_BHRfS_M" else None
