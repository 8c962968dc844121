"""What /proc says about other processes; where there is no /proc, what `ps` says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Seen(NamedTuple):
    """One process: `ticks` is when it started (clock ticks since boot), `state` its letter (Z: has ended)."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    ticks: int
    rss_kib: int


CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24  # mounting and the like; going beyond limits
HAS_PROC = os.path.exists("/proc/self/stat")  # noqa: PTH110 - at every start of the node
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def boot_id() -> str:
    """Names this run of the kernel; "" where it has no name."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def is_capable(capability: int) -> bool:
    """Whether the kernel lets this process use a capability (its number in capabilities(7)); False where that cannot be known."""
    try:
        with open("/proc/self/status") as file:
            held = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    except OSError:
        return False
    return bool(int(held, 16) >> capability & 1)


def process(pid: int) -> Seen | None:
    """The process of that id, or None."""
    if not HAS_PROC:
        return next(listed(pid), None)
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
    rss_kib = int(fields[21]) * _PAGE_KIB
    return Seen(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode(), int(fields[19]), rss_kib)


def is_first_of_its_own(pid: int) -> bool:
    """Whether a process is the first one of a process namespace below ours."""
    try:
        with open(f"/proc/{pid}/status") as file:
            ids = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return False
    return len(ids) > 1 and ids[-1] == "1"


def processes() -> Iterator[Seen]:
    """All processes that we may see."""
    if not HAS_PROC:
        yield from listed()
        return
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted, of hundreds
        if name.isdecimal():
            seen = process(int(name))
            if seen:
                yield seen


def listed(pid: int = 0) -> Iterator[Seen]:
    """The same from `ps`, for macOS; the group stands for the session, and `ticks` are seconds since the epoch."""
    import subprocess
    import time

    which = ["-p", str(pid)] if pid else ["-ax"]
    command = ["ps", *which, "-o", "pid=,ppid=,pgid=,stat=,rss=,lstart="]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "PATH": "/bin:/usr/bin"}).stdout
    for line in told.splitlines():
        number, parent, group, state, rss_kib, started = line.split(maxsplit=5)
        ticks = int(time.mktime(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y")))
        yield Seen(int(number), int(parent), int(group), int(group), state[0], ticks, int(rss_kib))


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


def storage_counts(told: bytes) -> tuple[int, int]:
    """What a process and those that it waited for had read from storage and written to it (see `cage`), as /proc/PID/io tells it."""
    counts = dict(line.split(b": ") for line in told.splitlines())
    return int(counts[b"read_bytes"]), int(counts[b"write_bytes"])


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


def threads(pid: int) -> int:
    """How many threads a process has; 1 where that cannot be seen."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - only their number is wanted
    except OSError:
        return 1


def ended_children(known: Iterable[int]) -> Iterator[int]:
    """Our children that have ended, one after the other as the caller reaps them. macOS can only be asked for those that we `know`."""
    if not hasattr(os, "waitid"):
        yield from [pid for pid in known if _has_ended(pid)]
        return
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        yield ended.si_pid


def _has_ended(pid: int) -> bool:
    seen = process(pid)
    return seen is None or seen.state == "Z"
