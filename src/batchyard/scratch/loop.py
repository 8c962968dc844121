"""Loop devices: files of a disk as the disks of another file system; found by what the kernel says, never by what was remembered."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from batchyard.scratch import tools
from batchyard.scratch.ledger import Book, Ledger, Volume
from batchyard.scratch.policy import BLOCK_BYTES, GIB, MIB
from batchyard.scratch.provision import ScratchError
from batchyard.scratch.tools import run, until

Step = Callable[[str], None]  # told after each step of a verb: tests kill there

_GET_STATUS, _STATUS_BYTES = 0x4C05, 232  # LOOP_GET_STATUS64, struct loop_info64
_QUICK_S = 60.0
_LETS_GO_S = 1.0
_LEFT_PART, _LEFT_MOST = 50, GIB  # a fiftieth of the disk below is left to others
log = logging.getLogger(__name__)
_BLOCKS = Path("/sys/block")


def no_step(name: str) -> None:
    """Nobody listens."""


def device_of(path: Path) -> str | None:
    """The loop device (`/dev/loopN`) that stands on `path`, also when the file was removed below it.

    One on a removed file of the same name is another one: somebody may still have a copy of its mount.
    """
    wanted = str(path.resolve()) if path.exists() else f"{path.resolve()} (deleted)"
    return next((device for device, backing in attached().items() if backing == wanted and _is_on(device, path)), None)


def within(folder: Path) -> dict[str, str]:
    """The loop devices on files of `folder`, with the names of their files; also on files that were removed."""
    inside = f"{folder.resolve()}/"
    return {device: name for device, name in attached().items() if name.startswith(inside) and _is_on(device, folder)}


def _is_on(device: str, path: Path) -> bool:
    """Whether the device's file is this one; of a folder, or of a file that was removed: whether it is on its disk.

    A container with loop devices of its own sees the names of all files of the machine as they are called elsewhere: its path may be
    somebody else's, too.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        told = fcntl.ioctl(descriptor, _GET_STATUS, bytes(_STATUS_BYTES))
    except OSError:
        return False  # it went meanwhile
    finally:
        os.close(descriptor)
    disk, inode = (int(one) for one in struct.unpack_from("=QQ", told))
    try:
        seen = path.stat()
    except FileNotFoundError:
        return disk == path.parent.stat().st_dev
    return disk == seen.st_dev and (stat.S_ISDIR(seen.st_mode) or inode == seen.st_ino)


def attached() -> dict[str, str]:
    """All loop devices in use, with the names of their files."""
    found = {}
    for entry in _BLOCKS.glob("loop*/loop/backing_file"):
        try:
            found[f"/dev/{entry.parents[1].name}"] = entry.read_text(errors="surrogateescape").rstrip("\n")
        except OSError:
            continue  # it went meanwhile
    return found


def attach(path: Path, lock: int) -> str:
    """The loop device on `path`; made if there is none."""
    device = device_of(path)
    if device is not None:
        return device
    device = run(["losetup", "--find", "--show", "--nooverlap", str(path)], timeout_s=_QUICK_S, holding=lock)
    until(lambda: device_of(path) is not None, f"the kernel shows no loop device on {path}", _QUICK_S)
    return device


def detach(path: Path, lock: int) -> None:
    """No loop device on `path` any more, or none as soon as its last user is gone.

    A mount that was taken away here lives on in the mount namespaces that were made meanwhile (of other containers and sandboxes on this
    machine). The kernel lets go of the device with the last of them, and of the file, which is waited for a while only.
    """
    device = device_of(path)
    if device is None:
        return
    let_go(device, lock)
    try:
        until(lambda: device_of(path) is None, f"{device} is still in use after losetup --detach", _LETS_GO_S)
    except ScratchError:
        if not _goes_by_itself(device):
            raise
        log.warning("%s is mounted in another mount namespace: it goes when that does", device)


def let_go(device: str, lock: int | None) -> None:
    """Detach a device, now or when its last user lets go of it: nothing is waited for.

    One that goes by itself is left alone: it may be gone, and be somebody else's disk, before the command has begun.
    """
    if _goes_by_itself(device):
        return
    run(["losetup", "--detach", device], timeout_s=_QUICK_S, holding=lock)


def _goes_by_itself(device: str) -> bool:
    """Whether the kernel takes the device away when nobody uses it any more."""
    try:
        return (_BLOCKS / Path(device).name / "loop" / "autoclear").read_text().strip() == "1"
    except OSError:
        return True  # it is gone


def reread_size(device: str, size_bytes: int, lock: int) -> None:
    """Let the device be as large as its file is now."""
    run(["losetup", "--set-capacity", device], timeout_s=_QUICK_S, holding=lock)
    until(lambda: size_of(device) >= size_bytes, f"{device} did not become {size_bytes} bytes large", _QUICK_S)


def size_of(device: str) -> int:
    """Bytes of a block device."""
    return int((_BLOCKS / Path(device).name / "size").read_text()) * 512


def must_be_root() -> None:
    """Loop devices and mounts are root's."""
    if os.geteuid() != 0:
        raise ScratchError("loop volumes need root; without it there is --backend quota")
    if not Path("/dev/loop-control").exists():
        raise ScratchError("this kernel has no loop devices (/dev/loop-control is missing); there is --backend quota")


class LoopDisks:
    """Files in the folder of a ledger, a loop device on each."""

    kind = "loop"
    unit_bytes = BLOCK_BYTES
    smallest_bytes = 32 * MIB
    largest_bytes = 1 << 62
    volumes_max = 16

    def __init__(self, ledger: Ledger, step: Step = no_step) -> None:
        """Refuses where loop devices cannot be."""
        must_be_root()
        self._step = step
        self._folder, self._lock = ledger.folder, ledger.lock

    def owner(self) -> str:
        """See `Disks.owner`: the files lie beside their record."""
        return ""

    def name(self, book: Book) -> str:
        """See `Disks.name`."""
        return f"volume-{book.number:04}.img"

    def make(self, volume: Volume) -> Volume:
        """See `Disks.make`."""
        tools.allocate(self._path(volume), volume.size_bytes)
        return volume

    def find(self, volume: Volume) -> Volume | None:
        """See `Disks.find`."""
        return volume if self._path(volume).exists() else None

    def attach(self, volume: Volume) -> str:
        """See `Disks.attach`."""
        return attach(self._path(volume), self._lock)

    def device_of(self, volume: Volume) -> str | None:
        """See `Disks.device_of`."""
        return device_of(self._path(volume))

    def detach(self, volume: Volume) -> None:
        """See `Disks.detach`."""
        detach(self._path(volume), self._lock)

    def delete(self, volume: Volume) -> None:
        """See `Disks.delete`."""
        self._path(volume).unlink(missing_ok=True)
        tools.sync_folder(self._folder)

    def enlarge(self, volume: Volume, size_bytes: int) -> None:
        """See `Disks.enlarge`."""
        path = self._path(volume)
        device = attach(path, self._lock)
        if path.stat().st_size < size_bytes or size_of(device) < size_bytes:
            tools.allocate(path, size_bytes, volume.size_bytes)
        self._step("allocated")
        if size_of(device) < size_bytes:
            reread_size(device, size_bytes, self._lock)

    def take_back(self, volume: Volume) -> bool:
        """See `Disks.take_back`: what was had of the file without the device being larger is given back."""
        path = self._path(volume)
        device = device_of(path)
        if device is None or size_of(device) > volume.size_bytes:
            return False
        os.truncate(path, volume.size_bytes)
        return True

    def grows_left(self, book: Book) -> int | None:
        """See `Disks.grows_left`."""
        return None

    def room_bytes(self) -> int | None:
        """See `Disks.room_bytes`. A little is left to who else writes to the disk below: the record needs room, too."""
        below = os.statvfs(self._folder)
        return max(0, below.f_bavail * below.f_frsize - min(_LEFT_MOST, below.f_blocks * below.f_frsize // _LEFT_PART))

    def owes_sweep(self) -> bool:
        """See `Disks.owes_sweep`: files are there or not."""
        return False

    def sweep(self, known: Iterable[Volume], in_use: set[str]) -> None:
        """See `Disks.sweep`: devices on files of the folder that are nobody's."""
        owned = {str(self._path(volume).resolve()) for volume in known}
        for device, backing in within(self._folder).items():
            if backing not in owned and device not in in_use:
                let_go(device, self._lock)

    def _path(self, volume: Volume) -> Path:
        return self._folder / volume.name
