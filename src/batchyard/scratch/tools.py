"""System commands with an end: none may take longer than it is given, and whatever fails says what and why."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from batchyard.scratch.provision import NoRoom, ScratchError

_PROBE = ".batchyard-probe-"
FILE_SYSTEMS = Path("/proc/filesystems")
MODULES = Path("/lib/modules")
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def run(argv: list[str], *, timeout_s: float, holding: int | None = None) -> str:
    """Run a command and return what it printed.

    `holding` is a descriptor that it inherits: the lock of the record, so that nobody takes over while a command of a dead
    daemon still works.
    """
    keep = () if holding is None else (holding,)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=keep,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ScratchError(_not_installed(argv[0])) from None
    try:
        said, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)  # one that the kernel does not let go of is left behind, with the lock
        raise ScratchError(f"{' '.join(argv)} took longer than {timeout_s:g} s and was ended") from None
    text = said.decode(errors="replace").strip()
    if process.returncode:
        kind = NoRoom if "No space left" in text else ScratchError
        raise kind(f"{' '.join(argv)} failed ({process.returncode}): {text[-400:]}")
    return text


def can_make(file_system: str) -> None:
    """Refuse before anything is made for it: where the tools of `file_system` are missing, or the kernel has no such thing."""
    if shutil.which(f"mkfs.{file_system}", path=_ENVIRONMENT["PATH"]) is None:
        raise ScratchError(_not_installed(f"mkfs.{file_system}"))
    modprobe = shutil.which("modprobe", path=_ENVIRONMENT["PATH"])
    if file_system in FILE_SYSTEMS.read_text().split() or modprobe is None or not (MODULES / os.uname().release).is_dir():
        return  # in a container the kernel may know how to load it all the same: mounting tells
    with contextlib.suppress(ScratchError):
        run([modprobe, "-q", file_system], timeout_s=60)
    if file_system not in FILE_SYSTEMS.read_text().split():
        raise ScratchError(f"this kernel has no {file_system}, and no module of it: take another --backend, or another image")


def _not_installed(command: str) -> str:
    return f"{command} is not installed: the packages btrfs-progs, xfsprogs and util-linux have what is needed"


def until(is_so: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait until `is_so`, at most `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise ScratchError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.005)


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def allocate(path: Path, size_bytes: int, from_bytes: int = 0) -> None:
    """Make the file `size_bytes` long, with its blocks reserved: a file system on a file with holes breaks when the disk below is full."""
    below = os.statvfs(path.parent)
    wanted, free = size_bytes - from_bytes, below.f_bavail * below.f_frsize
    held = path.stat().st_blocks * 512 if path.exists() else 0
    if wanted > free + max(0, held - from_bytes):  # asked for in vain, it would leave nothing to others for a moment
        raise NoRoom(f"{path.parent} has no room for {wanted} bytes more: {free} are free")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, from_bytes, size_bytes - from_bytes)
        os.fsync(descriptor)
    except OSError as error:
        raise NoRoom(f"{path.parent} has no room for {size_bytes - from_bytes} bytes more: {error.strerror}") from error
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def probe(place: Path, timeout_s: float) -> None:
    """Write, sync, read back and remove a small file in `place`, within `timeout_s`.

    Jobs may write there: the file has a name that nobody knows before, and nothing that stands in its way is followed or opened.
    """
    wrong: list[str] = []
    word = os.urandom(4096)

    def attempt() -> None:
        path = place / f"{_PROBE}{os.urandom(8).hex()}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, word)
                os.fsync(descriptor)
                if os.pread(descriptor, len(word), 0) != word:
                    wrong.append("what was written is not what is read")
            finally:
                os.close(descriptor)
                path.unlink()
        except OSError as error:
            wrong.append(error.strerror or str(error))

    worker = threading.Thread(target=attempt, daemon=True)
    worker.start()
    worker.join(timeout_s)
    if worker.is_alive():
        raise ScratchError(f"{place} did not take and sync 4 KiB within {timeout_s:g} s")
    if wrong:
        raise ScratchError(f"{place} is not healthy: {wrong[0]}")
