"""Runs one invocation in a process of its own (`inside/cell.py`), with a directory and, as root, a user of its own, and cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from batchyard.compute.local import proc
from batchyard.compute.local.host import DEFAULT_UIDS
from batchyard.compute.local.slots import claim, in_use
from batchyard.model.fault import Fault
from batchyard.services.lambda_functions.rooms import rooms_of

CELL = Path(__file__).with_name("inside") / "cell.py"
INIT_S = 10.0
GRACE_S = 30.0  # after which a cell that does not report is given up
MOST_AT_ONCE = 64
LOG_BYTES = 4 * 1024 * 1024
LINE_BYTES = 200 * 1024
# The AWS SDK for Python and what it stands on: what of it is installed beside the server can be imported.
LIBRARIES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")


class Line(NamedTuple):
    """A line that the function printed, and when it arrived here."""

    at_ms: int
    text: bytes


class Report(msgspec.Struct):
    """What the cell says at the end. `outcome`: response, error, exit, timeout, memory or unwanted; `payload` is JSON."""

    outcome: str
    payload: str = ""
    init_ms: float = 0.0
    duration_ms: float = 0.0
    status: int = 0
    peak_mib: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """One invocation: the code as a zip archive, the event as JSON, and what the function gets."""

    code: bytes
    event: str
    handler: str
    environment: dict[str, str]
    context: dict[str, Any]
    timeout_s: float
    memory_mib: int
    files_mib: int


class Sandbox:
    """Where invocations run. `data` is the server's folder."""

    def __init__(self, data: Path) -> None:
        self.is_root = os.geteuid() == 0
        self._rooms = rooms_of(data)
        self._is_swept = False
        self._running = asyncio.Semaphore(MOST_AT_ONCE)
        self._packages: dict[str, str] | None = None
        self._processes: set[asyncio.subprocess.Process] = set()
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether another invocation would have to wait."""
        return self._running.locked()

    async def run(self, order: Order) -> tuple[Report, list[Line]]:
        """What came of an invocation, and what it printed. Raises a Fault when none could be started."""
        async with self._running:
            if self.is_closed:
                raise _stopped()
            room = await asyncio.to_thread(self._make_room, order)
            try:
                return await self._watch(self._told(order, room), order)
            finally:
                await asyncio.shield(asyncio.to_thread(room.close))

    def close(self) -> None:
        """The server is being stopped: end what runs, and begin nothing more."""
        self.is_closed = True
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()

    def leave(self) -> None:
        """Take away the folder of all rooms, once they are empty, and what a server that was killed has left there."""
        with contextlib.suppress(OSError):
            self._sweep()
            self._rooms.rmdir()

    def _told(self, order: Order, room: _Room) -> bytes:
        if self._packages is None:
            self._packages = dict(_installed())
        told = {
            "room": str(room.path),
            "zip": str(room.path / "code.zip"),
            "uid": room.uid,
            "own_processes": 0 if self.is_root else _own_processes(),
            "packages": self._packages,
            "event": order.event,
            "handler": order.handler,
            "environment": order.environment,
            "context": order.context,
            "timeout_s": order.timeout_s,
            "init_s": INIT_S,
            "memory_mib": order.memory_mib,
            "files_mib": order.files_mib,
        }
        return msgspec.json.encode(told) + b"\n"

    async def _watch(self, told: bytes, order: Order) -> tuple[Report, list[Line]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(CELL),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        printed = asyncio.ensure_future(_lines_of(process.stderr))
        self._processes.add(process)
        try:
            if self.is_closed:  # since this one was begun: nobody else would end it
                raise _stopped()
            async with asyncio.timeout(INIT_S + order.timeout_s + GRACE_S):
                with contextlib.suppress(ConnectionError):
                    process.stdin.write(told)
                    await process.stdin.drain()
                answer = await process.stdout.read()
                await process.wait()
                lines = await printed
        except TimeoutError:
            process.kill()
            raise Fault("ServiceException", "The process of the function could not be ended in time.") from None
        finally:
            # Without anybody to answer, the cell ends the function and then itself: only then its room and its user are free.
            self._processes.discard(process)
            process.stdin.close()
            printed.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await process.wait()
        if not answer:
            said = b"\n".join(line.text for line in lines[-5:]).decode("utf-8", "replace")
            raise Fault("ServiceException", f"The process of the function could not be started: {said or 'it said nothing'}")
        report = msgspec.json.decode(answer, type=Report)
        if report.outcome == "unwanted":
            raise _stopped()
        return report, lines

    def _make_room(self, order: Order) -> _Room:
        self._sweep()
        uid, lock = self._user() if self.is_root else (None, -1)
        room = _Room(self._rooms / os.urandom(16).hex(), uid, lock)
        try:
            room.path.mkdir(mode=0o711)
            room.path.chmod(0o711)
            with open(os.open(room.path / "code.zip", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(order.code)
            for part in ("task", "tmp"):
                (room.path / part).mkdir(mode=0o700)
                if uid is not None:
                    os.chown(room.path / part, uid, uid)
        except BaseException:
            room.close()
            raise
        return room

    def _sweep(self) -> None:
        """At the first invocation: take away what an earlier server left, and make the folder of all rooms."""
        if self._is_swept:
            return
        self._rooms.mkdir(mode=0o711, exist_ok=True)
        found = self._rooms.lstat()
        if self._rooms.is_symlink() or found.st_uid != os.geteuid():
            raise PermissionError(f"{self._rooms} belongs to somebody else: remove it")
        self._rooms.chmod(0o711 if self.is_root else 0o700)
        for left in self._rooms.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        self._is_swept = True

    def _user(self) -> tuple[int, int]:
        """(a user id that nobody has, the lock that keeps it ours). From the end of those of jobs, which are given out from the start."""
        for uid in reversed(DEFAULT_UIDS):
            lock = claim(f"uid-{uid}")
            if lock is None:
                continue
            if not in_use(uid):
                return uid, lock
            os.close(lock)
        raise too_many()


class _Room:
    """The directory and the user of one invocation."""

    def __init__(self, path: Path, uid: int | None, lock: int) -> None:
        self.path, self.uid, self._lock = path, uid, lock

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _stopped() -> Fault:
    return Fault("ServiceException", "The service is being stopped, and the function with it: try again when it is there again.")


def too_many() -> Fault:
    return Fault("TooManyRequestsException", "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded", Type="User")


async def _lines_of(stream: asyncio.StreamReader) -> list[Line]:
    """Every line with the time when it came; of a flood, the beginning and a word about the rest."""
    lines: list[Line] = []
    rest, taken, dropped = b"", 0, 0
    while content := await stream.read(65536):
        now_ms = time.time_ns() // 1_000_000
        taken += len(content)
        if taken > LOG_BYTES:
            dropped += len(content)
            continue
        *whole, rest = (rest + content).split(b"\n")
        lines += [Line(now_ms, text[:LINE_BYTES]) for text in whole]
        if len(rest) > LINE_BYTES:
            lines.append(Line(now_ms, rest[:LINE_BYTES]))
            rest = b""
    now_ms = time.time_ns() // 1_000_000
    if rest:
        lines.append(Line(now_ms, rest))
    if dropped:
        lines.append(Line(now_ms, b"[batchyard: the function printed more than 4 MiB; %d bytes are left out]" % dropped))
    return lines


def _installed() -> Iterator[tuple[str, str]]:
    """(package, the folder that it lies in) of the SDK's parts that are installed; none of them is imported for that."""
    for name in LIBRARIES:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin:
            place = Path(found.origin).resolve()
            yield name, str(place.parent.parent if place.name == "__init__.py" else place.parent)


def _own_processes() -> int:
    """How many processes and threads our user has: the kernel counts a function's together with them."""
    uid, count = os.geteuid(), 0
    for seen in proc.processes():
        if proc.owner(seen.pid) == uid:
            count += 1
            with contextlib.suppress(OSError):
                count += len(os.listdir(f"/proc/{seen.pid}/task")) - 1  # noqa: PTH208 - their number is all that is wanted
    return count
