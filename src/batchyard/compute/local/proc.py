"""What /proc says about other processes. Where there is no /proc, nobody is seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple


class Seen(NamedTuple):
    """One process: `ticks` is when it started (clock ticks since boot), `state` its letter (Z: has ended)."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    ticks: int
    rss_pages: int


def boot_id() -> str:
    """Names this run of the kernel; "" where it has no name."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def process(pid: int) -> Seen | None:
    """The process of that id, or None."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # The name is in parentheses and may hold anything, parentheses too.
    fields = line[line.rindex(b")") + 2 :].split()
    return Seen(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode(), int(fields[19]), int(fields[21]))


def processes() -> Iterator[Seen]:
    """All processes that we may see."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - names are all that is wanted, of hundreds
    except OSError:
        return
    for name in names:
        if name.isdecimal():
            seen = process(int(name))
            if seen:
                yield seen


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if that cannot be seen."""
    seen = process(pid)
    return seen.ticks if seen else 0


def environment(pid: int) -> dict[bytes, bytes]:
    """The environment a process was started with; empty where we may not look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = file.read().split(b"\0")
    except OSError:
        return {}
    return {name: value for name, equals, value in (pair.partition(b"=") for pair in pairs) if equals}


def owner(pid: int) -> int | None:
    """The real user id of a process."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None
