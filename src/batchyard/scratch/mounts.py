"""What is mounted where, and mounting: what is taken away here goes from the mount namespaces that were made meanwhile, too.

A namespace (a sandbox, a container, a daemon of its own) begins with copies of all mounts. A copy keeps the file system alive when it is
unmounted here, and the device and the disk below with it. The kernel unmounts the copies along where they came from below a *shared* mount.
Machines with systemd have / shared; elsewhere the place is first bound onto itself, shared: its anchor. What is mounted on that is private
again, so that all else stays as it would be without. Copies remain in namespaces that were made private, or by another user (user
namespaces lock what they begin with).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from batchyard.scratch.provision import ScratchError
from batchyard.scratch.tools import run

_MOUNTINFO = Path("/proc/self/mountinfo")
_QUICK_S = 60.0
_BUSY_S = 120.0
_ESCAPED = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


class Mount(NamedTuple):
    """One line of mountinfo."""

    number: int
    parent: int
    device: str  # major:minor
    root: str  # the directory of the file system that is seen there
    place: str
    is_shared: bool
    source: str


def mounts() -> list[Mount]:
    """All that this process sees; what lies on another one comes after it."""
    found = []
    for line in _lines(_MOUNTINFO):
        fields = line.split(" ")
        dash = fields.index("-", 6)
        shared = any(word.startswith("shared:") for word in fields[6:dash])
        place, root, source = (_plain(word) for word in (fields[4], fields[3], fields[dash + 2]))
        found.append(Mount(int(fields[0]), int(fields[1]), fields[2], root, place, shared, source))
    return found


def mounted_from(place: Path) -> str | None:
    """The device that is mounted at `place`; None where nothing is (but an anchor)."""
    here = at(str(place.resolve()))
    return here[-1].source if here else None


def at(place: str) -> list[Mount]:
    """What is mounted at a path, but for anchors; what is seen there last."""
    seen = mounts()
    return [mount for mount in seen if mount.place == place and not _is_anchor(mount, seen)]


@contextlib.contextmanager
def table(place: Path) -> Iterator[str]:
    """The path of a table of mounts that has only what is seen at `place`, for programs that take the first line that names it."""
    wanted = str(place.resolve())
    lines = (line for line in _lines(Path("/proc/self/mounts")) if _plain(line.split(" ")[1]) == wanted)
    descriptor = os.memfd_create("mounts")
    try:
        os.write(descriptor, os.fsencode((list(lines)[-1:] or [""])[0]) + b"\n")
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def mount(kind: str, source: str, place: Path, options: str, lock: int) -> None:
    """Mount; refuses a place that has something in it, which would be hidden."""
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise ScratchError(
            f"{place} is not empty: what is in it would be hidden below the scratch space. Move it away, or name another place"
        )
    more = ["--make-private"] if _anchored(place, lock) else []
    run(["mount", "-t", kind, *more, "-o", options, source, str(place)], timeout_s=_QUICK_S, holding=lock)


def unmount(place: Path, lock: int) -> None:
    """Unmount what is seen there, if anything is, and the anchor below it."""
    if mounted_from(place) is not None:
        run(["umount", str(place)], timeout_s=_BUSY_S, holding=lock)
    weigh(place, lock)


def anchors() -> list[str]:
    """The places of anchors on which nothing is mounted."""
    seen = mounts()
    top = {mount.place: mount for mount in seen}
    return [mount.place for mount in top.values() if _is_anchor(mount, seen)]


def weigh(place: Path, lock: int | None = None) -> None:
    """Take the anchor away, where it is all that is mounted there."""
    wanted = str(place.resolve())
    while True:
        seen = mounts()
        here = [mount for mount in seen if mount.place == wanted]
        if not here or not _is_anchor(here[-1], seen):
            return
        run(["umount", "--lazy", wanted], timeout_s=_QUICK_S, holding=lock)  # nothing is in use by it


def _anchored(place: Path, lock: int) -> bool:
    """Have what lies below `place` shared; whether that took an anchor."""
    wanted, seen = str(place.resolve()), mounts()
    here = [mount for mount in seen if mount.place == wanted]
    is_there = bool(here) and _is_anchor(here[-1], seen)
    below = here[-1] if here else _below(wanted, seen)
    if below is None or below.is_shared:  # in a chroot it may not be told what a place lies on: an anchor would not be known again
        return is_there
    words = ["--make-shared", wanted] if is_there else ["--bind", "--make-shared", wanted, wanted]
    run(["mount", *words], timeout_s=_QUICK_S, holding=lock)
    return True


def _is_anchor(mount: Mount, seen: list[Mount]) -> bool:
    """Whether it shows what would be there without it."""
    parent = next((one for one in seen if one.number == mount.parent), None)
    if parent is None or parent.device != mount.device or not mount.place.startswith(parent.place.rstrip("/") + "/"):
        return False
    return mount.root == str(Path(parent.root) / Path(mount.place).relative_to(parent.place))


def _below(place: str, seen: list[Mount]) -> Mount | None:
    """The mount that a path lies on."""
    found = None
    for mount in seen:
        inside = mount.place.rstrip("/") + "/"
        if place.startswith(inside) and (found is None or len(mount.place) >= len(found.place)):
            found = mount
    return found


def _lines(path: Path) -> list[str]:
    """Names may be any bytes but a newline; they are as `os.fsdecode` has them."""
    return path.read_text(errors="surrogateescape").split("\n")[:-1]


def _plain(word: str) -> str:
    if "\\" in word:
        for escape, letter in _ESCAPED.items():
            word = word.replace(escape, letter)
    return word
