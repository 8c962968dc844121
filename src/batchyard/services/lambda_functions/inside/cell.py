"""Holds one invocation: forks the function's process with less than it has itself, watches it, and leaves nobody behind.

Run by path as `python -I -S cell.py`, with one line of JSON on stdin (see `sandbox.Order`). stdin stays open for as long as the server
wants the answer; its end means that nobody does. stderr is what the function prints; the report on stdout is ours alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

TICK_S = 0.05
LONGEST_MESSAGE_BYTES = 16 * 1024 * 1024
END_S = 5.0  # how long the end of everybody is waited for
_OVERHEAD_BYTES = 320 * 1024 * 1024  # of address space, beside what the function may use: the interpreter and its libraries
_PROCESSES = 128
_FILES = 1024
_MOST_URGENT = -20
_MIB = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38


def main() -> None:
    """Read the order, run it, report."""
    order = json.loads(sys.stdin.buffer.readline())
    bootstrap = _sibling("bootstrap")
    order["cfnresponse"] = Path(__file__).with_name("cfnresponse.py").read_text()
    order["zip"] = Path(order["zip"]).read_bytes()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    order["niceness"] = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):  # or a hundred processes that never rest leave it no time to end them
        os.setpriority(os.PRIO_PROCESS, 0, _MOST_URGENT)
    is_apart = order["uid"] is not None and _unshared()
    waking, woken = os.pipe()
    for end in (waking, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    reading, writing = os.pipe()
    began_s = time.monotonic()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for end in (reading, waking, woken):
            os.close(end)
        _inside(order, writing, bootstrap, is_apart)
    os.close(writing)
    os.set_blocking(reading, False)
    watched = Watched(order, pid, reading, waking, began_s)
    watched.until_over()
    report = watched.report()
    report["status"], peak_mib = _ended(pid, order["uid"], is_apart)
    report["peak_mib"] = max(report["peak_mib"], peak_mib)
    sys.stdout.write(json.dumps(report))


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the outside: watching and ending ---


class Watched:
    """The function's process as the cell sees it."""

    def __init__(self, order: dict[str, Any], pid: int, reading: int, waking: int, began_s: float) -> None:
        self._order, self._pid, self._reading, self._waking = order, pid, reading, waking
        self._got = bytearray()
        self._outcome = ""
        self._payload = ""
        self._began_s = began_s
        self._invoked_s = 0.0
        self._deadline_s = began_s + order["init_s"] + order["timeout_s"]
        self._over_s = 0.0
        self._peak_bytes = 0

    def until_over(self) -> None:
        """Watch until the function has answered, ended, used up its time or its memory, or nobody wants its answer any more."""
        poll = select.poll()
        for descriptor in (0, self._reading, self._waking):
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while not self._outcome:
            now_s = time.monotonic()
            if now_s >= self._deadline_s:
                self._outcome = "timeout"
                break
            wait_s = min(TICK_S, self._deadline_s - now_s)
            for descriptor, _ in poll.poll(max(1, int(wait_s * 1000))):
                if descriptor == self._waking:
                    os.read(self._waking, 512)
                elif descriptor == 0 and not os.read(0, 512):
                    self._outcome = "unwanted"
                elif descriptor == self._reading and not self._read():
                    poll.unregister(self._reading)
            self._look()
        self._over_s = time.monotonic()
        self._peak_bytes = max(self._peak_bytes, _used_bytes())  # of who is still there: many functions end before the first look

    def _look(self) -> None:
        if not self._outcome and os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            while self._read():
                pass
            self._outcome = self._outcome or "exit"
            return
        used = _used_bytes()
        self._peak_bytes = max(self._peak_bytes, used)
        if not self._outcome and used > self._order["memory_mib"] * _MIB:
            self._outcome = "memory"

    def _read(self) -> bool:
        """Take in what the function says: B when its handler begins, then R or E, eight bytes of length, and a JSON text."""
        try:
            content = os.read(self._reading, 1 << 20)
        except BlockingIOError:
            return False
        self._got += content
        if self._got[:1] == b"B" and not self._invoked_s:
            self._invoked_s = time.monotonic()
            self._deadline_s = self._invoked_s + self._order["timeout_s"]
        start = 1 if self._got[:1] == b"B" else 0
        if len(self._got) >= start + 9 and not self._outcome:
            size = int.from_bytes(self._got[start + 1 : start + 9])
            if size > LONGEST_MESSAGE_BYTES:
                self._outcome = "exit"
            elif len(self._got) >= start + 9 + size:
                self._outcome = "response" if self._got[start : start + 1] == b"R" else "error"
                self._payload = self._got[start + 9 : start + 9 + size].decode("utf-8", "replace")
        return bool(content)

    def report(self) -> dict[str, Any]:
        """What is known before the processes are ended. Times in ms."""
        begun_s = self._invoked_s or self._over_s
        return {
            "outcome": self._outcome,
            "payload": self._payload,
            "init_ms": round((begun_s - self._began_s) * 1000, 2),
            "duration_ms": round((self._over_s - (self._invoked_s or self._began_s)) * 1000, 2),
            "peak_mib": self._peak_bytes // _MIB,
        }


def _ended(pid: int, uid: int | None, is_apart: bool) -> tuple[int, int]:
    """End whoever is left. (The exit status of the first process, 128 and the signal's number if that ended it; the most MiB of one.)"""
    status, peak_kib, deadline_s = 0, 0, time.monotonic() + END_S
    if not is_apart:
        for member in _descendants():
            _signal(member, signal.SIGSTOP)
    _signal(pid, signal.SIGKILL)
    while time.monotonic() < deadline_s:
        if not is_apart:
            _kill_all_of(uid)
            for member in _descendants():
                _signal(member, signal.SIGKILL)
        try:
            seen, code, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not seen:
            time.sleep(0.002)
            continue
        peak_kib = max(peak_kib, used.ru_maxrss)
        if seen == pid:
            status = os.waitstatus_to_exitcode(code)
    return 128 - status if status < 0 else status, peak_kib // 1024


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _kill_all_of(uid: int | None) -> None:
    """Everybody of a user that is this function's alone, at once, also those that left the session."""
    if uid is None:
        return
    killer = os.fork()
    if killer == 0:
        os.setresuid(uid, uid, uid)
        with contextlib.suppress(OSError):
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(killer, 0)


def _descendants() -> list[int]:
    found, waiting = [], [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError, ValueError):
            children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            found += children
            waiting += children
    return found


def _used_bytes() -> int:
    """What all processes of the function hold together; pages that they share are counted once, to each its part."""
    used = 0
    for pid in _descendants():
        with contextlib.suppress(OSError, ValueError, IndexError):
            used += _share_bytes(pid)
    return used


def _share_bytes(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as lines:
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


# --- the inside: less and less ---


def _inside(order: dict[str, Any], writing: int, bootstrap: ModuleType, is_apart: bool) -> NoReturn:
    """The forked side. Where it is apart it is the first process there, which only waits: then its end is the end of all."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, order["niceness"])
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if is_apart:
            pid = os.fork()
            if pid:
                os.close(writing)
                _wait_as_first(pid)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _become(order, is_apart)
        bootstrap.run(order, writing)
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else int(left.code is not None))
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the cell's own code
        os.write(2, f"[ERROR] {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


def _wait_as_first(pid: int) -> NoReturn:
    while True:
        seen, status = os.wait()
        if seen == pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(128 - code if code < 0 else code)


def _become(order: dict[str, Any], is_apart: bool) -> None:
    """Take away what the function is not to have: in this order, for each step needs what the next one takes."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    room, uid = order["room"], order["uid"]
    os.chdir(f"{room}/task")
    order["environment"]["LAMBDA_TASK_ROOT"] = f"{room}/task"
    if uid is not None:
        _hold_libraries(order)
    order["environment"]["TMPDIR"] = "/tmp" if is_apart and _mounts_apart(room) else f"{room}/tmp"
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _limit(order)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user takes it back
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _set(resource.RLIMIT_NPROC, _PROCESSES + (0 if uid is not None else order["own_processes"]))
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(order["environment"])


def _limit(order: dict[str, Any]) -> None:
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, _FILES)
    _set(resource.RLIMIT_FSIZE, order["files_mib"] * _MIB)
    _set(resource.RLIMIT_CPU, 8 * (int(order["timeout_s"] + order["init_s"]) + 1))  # of all threads: time itself is the cell's to watch
    if sys.platform.startswith("linux"):
        _set(resource.RLIMIT_AS, order["memory_mib"] * _MIB + _OVERHEAD_BYTES)


def _set(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _hold_libraries(order: dict[str, Any]) -> None:
    """Python's own modules may lie where only their owner can go (/root): what is held open can be read all the same."""
    moved = {}
    for path in [*sys.path, *order["packages"].values()]:
        if path not in moved and os.path.isdir(path):  # noqa: PTH112 - as strings, they are compared with module paths
            moved[path] = f"/proc/self/fd/{os.open(path, os.O_RDONLY | os.O_DIRECTORY)}"
    sys.path[:] = [moved[path] for path in sys.path if path in moved]
    order["packages"] = {name: moved[path] for name, path in order["packages"].items() if path in moved}
    for module in list(sys.modules.values()):
        if isinstance(getattr(module, "__path__", None), list):
            module.__path__ = [_moved(path, moved) for path in module.__path__]
    sys.path_importer_cache.clear()


def _moved(path: str, moved: dict[str, str]) -> str:
    for old in sorted(moved, key=len, reverse=True):
        if path.startswith(old + "/"):
            return moved[old] + path[len(old) :]
    return path


def _unshared() -> bool:
    """Whether what is forked from now on has processes and System V memory of its own, and may have mounts of its own."""
    return sys.platform.startswith("linux") and bool(ctypes.CDLL(None).unshare(_CLONE_NEWIPC | _CLONE_NEWPID) == 0)


def _mounts_apart(room: str) -> bool:
    """Mount a small /dev/shm, a /proc that shows the function's own processes only, and its own /tmp; whether that could be had."""
    libc = ctypes.CDLL(None)
    if libc.unshare(_CLONE_NEWNS) != 0:
        return False
    for source, target, kind, flags, options in (
        ("none", "/", None, _MS_REC | _MS_PRIVATE, None),
        ("tmpfs", "/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "size=64m,mode=1777"),
        ("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None),
        (f"{room}/tmp", "/tmp", None, _MS_BIND, None),
    ):
        words = [word.encode() if word is not None else None for word in (source, target, kind)]
        is_mounted = libc.mount(*words, ctypes.c_ulong(flags), options.encode() if options else None) == 0
        if target == "/" and not is_mounted:
            return False  # what is mounted from here on would be everybody's
    return bool(is_mounted)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
