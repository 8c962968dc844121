"""What a container uses, and the moment when it ends, as the kernel tells them where the daemon runs on this machine.

The daemon removes a container's cgroup when it has ended, so its files are kept open and read often enough: while it starts, four times
a second, and the moment its first process ends (a pidfd says so at once, before the daemon has noticed). A file of a cgroup that is gone
gives nothing, and the last reading counts; that memory was short is told nevertheless (`shortage.py`). OOMKilled of Podman is always
false, and an exit code of 137 proves nothing: only what the kernel itself counts does. Since Linux 6.15 a pidfd also tells how a process
ended whose parent is somebody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
from pathlib import Path

from batchyard.compute.local import knobs, proc
from batchyard.compute.local.cage import Usage
from batchyard.compute.local.containers.shortage import Shortage
from batchyard.compute.local.containers.storage import Storage
from batchyard.compute.local.knobs import Knob, number_after
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import Promise

_MIB = 1024 * 1024
_STORAGE_EVERY = 4  # looks
_HANG_UP = 0  # epoll tells of it unasked: a pidfd hangs up when its process was waited for
# PIDFD_GET_INFO of pidfd_open(2), with what is asked for: PIDFD_INFO_EXIT. The wait status is the last of its 64 bytes.
_GET_INFO, _EXIT_INFO, _INFO_BYTES = 0xC040FF0B, 1 << 3, 64
_NOBODY = proc.Seen(0, 0, 0, 0, "", 0, 0)


class Groups:
    """Where cgroups are mounted on this machine: by controller of version 1, and version 2 as ""."""

    def __init__(self, system: Path = Path("/")) -> None:
        self._mounts: dict[str, knobs.Mount] = {}
        for mount in knobs.mounts(system):
            for controller in ("memory", "cpuacct") if mount.kind == "cgroup" else ("",):
                if not controller or controller in mount.options:
                    self._mounts.setdefault(controller, mount)
        self.version = 1 if "memory" in self._mounts else 2 if "" in self._mounts else 0

    def of(self, pid: int, id: str) -> dict[str, Path]:
        """The cgroups of a container by controller, if process `pid` is its own; {} if it is not (another machine's, or gone)."""
        found: dict[str, Path] = {}
        for line in knobs.read(Path(f"/proc/{pid}/cgroup")).splitlines():
            _, controllers, path = line.split(":", 2)
            if id not in path:
                continue
            for controller in controllers.split(","):
                if controller in self._mounts and (controller or self.version == 2):
                    found[controller] = knobs.place_in(self._mounts[controller], path)
        return found

    def expected(self, id: str) -> dict[str, Path]:
        """Where Docker makes the cgroups of a container, before it says which process is in them; {} if they are not there (yet)."""
        controllers = ("memory", "cpuacct") if self.version == 1 else ("",)
        for name in (f"docker/{id}", f"system.slice/docker-{id}.scope"):
            places = {controller: self._mounts[controller].place / name for controller in controllers if controller in self._mounts}
            if places and next(iter(places.values())).is_dir():
                return places
        return {}

    def first_of(self, id: str) -> int:
        """The first process of a container that has been started, where Docker makes its cgroups; 0 if it is not there (any more).

        It is the one that somebody outside of the container started: what others in it leave behind becomes a child of the first, or is
        younger.
        """
        for place in self.expected(id).values():
            inside = {seen.pid: seen for seen in map(proc.process, map(int, knobs.read(place / "cgroup.procs").split())) if seen}
            return min((seen for seen in inside.values() if seen.parent not in inside), key=lambda seen: seen.ticks, default=_NOBODY).pid
        return 0

    def is_of(self, pid: int, id: str) -> bool:
        """Whether process `pid` of this machine belongs to a container."""
        return id in knobs.read(Path(f"/proc/{pid}/cgroup"))


class Meter:
    """The readings of one container."""

    def __init__(self, groups: Groups, loop: Loop) -> None:
        self._groups, self._loop = groups, loop
        self._knobs: list[Knob | None] = [None, None, None]  # the peak of memory, the time of processors, the kills for memory
        self._descriptor = -1
        self._peak_bytes: int | None = None
        self._cpu_s: float | None = None
        self._storage = Storage()
        self._members: Path | None = None
        self._looks = 0
        self._shortage: Shortage | None = None
        self.oom = False
        self.ended: Promise[None] | None = None  # kept when the first process has ended, if that can be seen
        self.ended_s = 0.0  # when it had
        self.is_whole = False  # all was read once more when it had
        self.status: Promise[int] | None = None  # its wait status, on kernels that tell it

    def expect(self, id: str) -> None:
        """While it is being started: have its cgroup's files open before the container may be gone again."""
        if None in self._knobs:
            self._open(self._groups.expected(id))
        if self._knobs[0]:
            first = self._groups.first_of(id)
            self._storage.follow(first)
            if self.ended is None and first and proc.is_first_of_its_own(first):
                self.find(first, id)  # all that are in the group before it go again
        self.look()

    def find_first(self, id: str) -> bool:
        """The same as `find` without the daemon, which may be away the next moment: for a container that has just been started."""
        found = self.ended is not None or self.find(self._groups.first_of(id), id)
        if not found:
            self._storage.end()
        return found

    def find(self, pid: int, id: str) -> bool:
        """Look at the container whose first process is `pid`; whether it is one of this machine."""
        if self.ended is not None:
            return True
        if not pid or not self._groups.is_of(pid, id):
            return False
        if not hasattr(os, "pidfd_open"):
            return False
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError:
            return False
        ended: Promise[None] = Promise()
        self.ended, self.status = ended, Promise()
        places = self._groups.of(pid, id)
        self._members = next((place / "cgroup.procs" for place in places.values()), None)
        self._open(places)
        self._storage.follow(pid)
        self.look()
        self._loop.watch(self._descriptor, lambda _: self._end(ended))
        return True

    def _open(self, places: dict[str, Path]) -> None:
        """Open what is there of them and not open yet: they are made one after the other."""
        if self._groups.version == 1:
            memory, cpu = places.get("memory"), places.get("cpuacct")
            files = (memory, "memory.max_usage_in_bytes"), (cpu, "cpuacct.usage"), (memory, "memory.oom_control")
            if memory is not None and self._shortage is None:
                with contextlib.suppress(OSError):
                    self._shortage = Shortage(memory)
        else:
            group = places.get("")
            files = (group, "memory.peak"), (group, "cpu.stat"), (group, "memory.events")
        for number, (place, file) in enumerate(files):
            if place is not None and self._knobs[number] is None:
                with contextlib.suppress(OSError):
                    self._knobs[number] = Knob(f"{place}/{file}", os.O_RDONLY)

    def _end(self, ended: Promise[None]) -> None:
        self._loop.forget(self._descriptor)
        self._storage.end()  # before anything else: the daemon is about to reap it
        self._members = None
        self.is_whole = self.look()
        self.ended_s = boot_s()
        self._loop.watch(self._descriptor, lambda _: self._waited_for(), _HANG_UP)
        ended.keep(None)

    def _waited_for(self) -> None:
        self._loop.forget(self._descriptor)
        status = _wait_status(self._descriptor)
        if self.status and status is not None:
            self.status.keep(status)

    def pids(self) -> list[int]:
        """The container's processes; [] if it has ended, or was not found (on this machine)."""
        return knobs.members(self._members.parent) if self._members else []

    @property
    def group_id(self) -> int:
        """The id of the container's own cgroup of version 2; 0 if it has ended, was not found, or has none."""
        return knobs.group_id(self._members.parent) if self._members and self._groups.version == 2 else 0

    @property
    def lives(self) -> bool:
        """Whether its first process has not ended; False if it cannot be seen."""
        if self._descriptor < 0:
            return False
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return not poller.poll(0)

    def look(self) -> bool:
        """Take a reading; what cannot be read any more stays as it was. Whether all of it could be."""
        peak, cpu, kills = map(_read, self._knobs)
        if peak:
            self._peak_bytes = max(self._peak_bytes or 0, int(peak))
        if cpu:
            self._cpu_s = int(cpu) / 1e9 if self._groups.version == 1 else number_after(b"usage_usec", cpu) / 1e6
        if kills and number_after(b"oom_kill", kills):
            self.oom = True
        if self._members and self._looks % _STORAGE_EVERY == 0:
            self._storage.look(map(int, knobs.read(self._members).split()))
        self._looks += 1
        return all((peak, cpu, kills))

    def kill(self) -> None:
        """SIGKILL to the first process, and with it all of the container: for when the daemon is away."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def was_short(self) -> bool:
        """Whether memory was short, where the cgroup was gone when it had ended and was to be read once more."""
        return not self.is_whole and self._shortage is not None and await self._shortage.was(self._loop)

    def usage(self) -> Usage:
        """What was read so far: memory and storage in MiB, processor time in seconds; None for what nobody told."""
        used = Usage(self._peak_bytes / _MIB if self._peak_bytes is not None else None, self._cpu_s, self.oom)
        stored = self._storage.used
        return used._replace(read_mib=stored.read / _MIB, written_mib=stored.written / _MIB) if stored else used

    def close(self) -> None:
        """Read no more; what was read stays."""
        self._storage.close()
        if self._shortage:
            self._shortage.close()
        for knob in self._knobs:
            if knob:
                knob.close()
        if self._descriptor >= 0:
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def _read(knob: Knob | None) -> bytes:
    if knob is None:
        return b""
    try:
        return knob.read().strip()
    except OSError:  # its cgroup is gone
        return b""


def _wait_status(pidfd: int) -> int | None:
    """How a process ended that was waited for; None if this kernel does not tell."""
    told = bytearray(struct.pack("=Q", _EXIT_INFO) + bytes(_INFO_BYTES - 8))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, told)
    except OSError:
        return None
    known, status = struct.unpack_from("=Q", told)[0], struct.unpack_from("=i", told, _INFO_BYTES - 4)[0]
    return int(status) if known & _EXIT_INFO else None
