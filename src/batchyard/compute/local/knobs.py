"""Reading and writing the small files by which the kernel is asked and told things about cgroups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Knob:
    """One such file, kept open: that is ten times faster than opening it for every look."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: str, flags: int) -> None:
        self._descriptor = os.open(path, flags | os.O_CLOEXEC)

    def read(self) -> bytes:
        """What it says now, at most a page. OSError if its cgroup is gone."""
        return os.pread(self._descriptor, 4096, 0)

    def write(self, text: bytes) -> None:
        """Tell it. OSError if the kernel refuses."""
        os.write(self._descriptor, text)

    def close(self) -> None:
        """Let go of it; more than once does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()


def number_after(word: bytes, text: bytes) -> int:
    """The number that follows a word at the start of a line, as in `oom_kill 1`; 0 if there is none."""
    for line in text.splitlines():
        name, _, value = line.partition(b" ")
        if name == word:
            return int(value)
    return 0


def read(path: Path) -> str:
    """What the file says, "" if it is not there or says nothing to us. Names in it are bytes to the kernel: as `os.fsdecode` has them."""
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""


def write(path: Path, text: str) -> bool:
    """Whether the kernel took it."""
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return False
    return True


def members(group: Path) -> list[int]:
    """The processes in a cgroup; [] if it is gone."""
    return [int(pid) for pid in read(group / "cgroup.procs").split()]


def group_id(group: Path) -> int:
    """By what the kernel calls a cgroup of version 2; 0 if it is gone. No later one has the same."""
    try:
        return group.stat().st_ino
    except OSError:
        return 0


class Mount(NamedTuple):
    """A mounted cgroup hierarchy: where, which part of it is seen there, and its controllers (none: version 2)."""

    place: Path
    root: str
    kind: str  # "cgroup" or "cgroup2"
    options: frozenset[str]


def mounts(system: Path = Path("/")) -> Iterator[Mount]:
    """The cgroup hierarchies that this process sees."""
    for line in read(system / "proc/self/mountinfo").split("\n")[:-1]:
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        if kind in ("cgroup", "cgroup2"):
            yield Mount(system / fields[4].lstrip("/"), fields[3], kind, frozenset(fields[-1].split(",")))


def own_groups(system: Path = Path("/")) -> dict[str, str]:
    """The path of our own cgroup by controller; by "" for version 2."""
    found: dict[str, str] = {}
    for line in read(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def place_in(mount: Mount, group: str) -> Path:
    """Where a cgroup lies in the file system."""
    below = os.path.relpath(group, mount.root) if mount.root != "/" else group.lstrip("/")
    return mount.place if below in (".", "") or below.startswith("..") else mount.place / below


def own_place2() -> Path | None:
    """Where our own cgroup of version 2 lies, if such a hierarchy is mounted."""
    for mount in mounts():
        if mount.kind == "cgroup2":
            return place_in(mount, own_groups().get("", "/"))
    return None
