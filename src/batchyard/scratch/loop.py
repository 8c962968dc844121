"""Loop devices: files of a disk as the disks of another file system; found by what the kernel says, never by what was remembered."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from batchyard.scratch.provision import ScratchError
from batchyard.scratch.tools import run, until

Step = Callable[[str], None]  # told after each step of a verb: tests kill there

_QUICK_S = 20.0
_BLOCKS = Path("/sys/block")


def no_step(name: str) -> None:
    """Nobody listens."""


def device_of(path: Path) -> str | None:
    """The loop device (`/dev/loopN`) that stands on `path`, also when the file was removed below it."""
    wanted = {str(path.resolve()), f"{path.resolve()} (deleted)"}
    return next((device for device, backing in attached().items() if backing in wanted), None)


def attached() -> dict[str, str]:
    """All loop devices in use, with the names of their files."""
    found = {}
    for entry in _BLOCKS.glob("loop*/loop/backing_file"):
        try:
            found[f"/dev/{entry.parents[1].name}"] = entry.read_text().rstrip("\n")
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
    """No loop device on `path` any more. The kernel lets go of one when its last user does, so this waits for it."""
    device = device_of(path)
    if device is None:
        return
    run(["losetup", "--detach", device], timeout_s=_QUICK_S, holding=lock)
    until(lambda: device_of(path) is None, f"{device} is still in use after losetup --detach", _QUICK_S)


def reread_size(device: str, size_bytes: int, lock: int) -> None:
    """Let the device be as large as its file is now."""
    run(["losetup", "--set-capacity", device], timeout_s=_QUICK_S, holding=lock)
    until(lambda: size_of(device) >= size_bytes, f"{device} did not become {size_bytes} bytes large", _QUICK_S)


def size_of(device: str) -> int:
    """Bytes of a block device."""
    return int((_BLOCKS / Path(device).name / "size").read_text()) * 512


def mounted_from(place: Path) -> str | None:
    """The device that is mounted at `place`; None where nothing is."""
    wanted = str(place.resolve()).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
    source = None
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if fields[1] == wanted:
            source = fields[0]
    return source


def mount(kind: str, source: str, place: Path, options: str, lock: int) -> None:
    """Mount, unless it is so already; refuses a place that has something in it, which would be hidden."""
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise ScratchError(
            f"{place} is not empty: what is in it would be hidden below the scratch space. Move it away, or name another place"
        )
    run(["mount", "-t", kind, "-o", options, source, str(place)], timeout_s=60, holding=lock)


def unmount(place: Path, lock: int) -> None:
    """Unmount, if anything is mounted there."""
    if mounted_from(place) is not None:
        run(["umount", str(place)], timeout_s=120, holding=lock)


def must_be_root() -> None:
    """Loop devices and mounts are root's."""
    if os.geteuid() != 0:
        raise ScratchError("loop volumes need root; without it there is --backend quota")
    if not Path("/dev/loop-control").exists():
        raise ScratchError("this kernel has no loop devices (/dev/loop-control is missing); there is --backend quota")
