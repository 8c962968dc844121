"""Starting a program as somebody else, in a directory of its own, as fast as Python can (docs/decisions/0003-how-jobs-are-spawned.md).

The quick way borrows: the node's single thread takes on the job's user, directory and (see `cgroup1`) cgroup for the fraction of a
millisecond that `posix_spawn` needs, because the child inherits them and nothing has to be forked. The slow way forks; it is for what
cannot be borrowed safely (a user that may already run other processes) and for systems that lack the quick way's pieces.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
JOB_UMASK = 0o022
# Ignored signals stay ignored across exec, and a job expects the defaults: Python ignores some, `nohup` and a script's `&` others.
_DEFAULTED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_BEGIN_S = 10.0  # far beyond what a fork takes on the busiest machine
_WAKE_MS = 100
_SIBLING = b"\0"  # around the process id of who goes on in the place of a child
CAN_BORROW = sys.platform.startswith("linux") and hasattr(os, "posix_spawn") and hasattr(os, "setresuid")


class Identity(NamedTuple):
    """Who a job is. `shared` ones may have other processes on this machine, so the node never wears them."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    shared: bool = False


class Surroundings(Protocol):
    """What a program is started in (see `bubbles.Bubble`)."""

    @property
    def first_pid(self) -> int:
        """The process to which what a program leaves behind is given."""
        ...

    @property
    def needs_a_child(self) -> bool:
        """Whether only a child can step in, by `join`."""
        ...

    def enter(self) -> None:
        """What is spawned from now on is inside, until we `leave`, which has to follow even if this fails. OSError: we cannot step in."""
        ...

    def leave(self) -> None:
        """Be where we were."""
        ...

    def join(self) -> int:
        """In a child: step in for good and fork. 0 in the program to be, which is our parent's child; its process id in the child."""
        ...


class Order(NamedTuple):
    """All that is needed to start a program. `identity` None: as the node itself; `inside` None: where the node itself lives."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    output: int  # its stdout and stderr
    identity: Identity | None
    inside: Surroundings | None = None
    processes: int = 0  # how many its user may have, itself among them; 0: as many as the node's own user


class CannotStart(Exception):
    """The program cannot be started; the text is what the job's owner should read."""


def start(order: Order) -> int:
    """Start the program and return its process id: leader of a new session, stdin from /dev/null. CannotStart if it cannot be."""
    if can_borrow(order):
        return borrowing(order)
    return forking(order)


def can_borrow(order: Order) -> bool:
    """Whether the node may take the place of the job for a moment."""
    return CAN_BORROW and not (order.identity and order.identity.shared) and not (order.inside and order.inside.needs_a_child)


def borrowing(order: Order) -> int:
    """Start by posix_spawn, with our own thread in the job's place for that moment."""
    inside, identity = order.inside, order.identity
    usual = resource.getrlimit(resource.RLIMIT_NPROC) if order.processes else None
    try:
        try:
            if inside:
                inside.enter()
            if usual:  # only the limit that the job could raise itself: we could not take back the other one
                resource.setrlimit(resource.RLIMIT_NPROC, (_lower(order.processes, usual[1]), usual[1]))
            os.chdir(order.directory)
            if identity:  # the saved ids stay ours, and exec drops them for the job
                os.setresgid(identity.gid, identity.gid, 0)
                os.setresuid(identity.uid, identity.uid, 0)
            return _spawned(order)
        finally:
            if identity:
                os.setresuid(0, 0, 0)
                os.setresgid(0, 0, 0)
            os.chdir("/")
            if usual:
                resource.setrlimit(resource.RLIMIT_NPROC, usual)
            if inside:
                inside.leave()
    except (OSError, ValueError) as error:
        raise CannotStart(sentence(order.argv, error)) from error


def _spawned(order: Order) -> int:
    """The program, as who and where we are now."""
    return os.posix_spawn(
        found(order.argv[0], order.environment.get("PATH", DEFAULT_PATH)),
        order.argv,
        order.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, order.output, 1),
            (os.POSIX_SPAWN_DUP2, order.output, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=_DEFAULTED,
    )


def _lower(wanted: int, most: int) -> int:
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


def forking(order: Order, fork: Callable[[], int] = os.fork, enter: Callable[[], object] | None = None) -> int:
    """Start by a real fork; `fork` may be another way to get a child, and `enter` what the child does first (see `cgroup2`)."""
    reading, writing = os.pipe()
    inside = None if order.inside is None or order.inside.needs_a_child else order.inside
    try:
        try:
            if inside:
                inside.enter()
            pid = fork()
            if pid == 0:
                _become(order, writing, enter)
        finally:
            if inside:
                inside.leave()
    except (OSError, NotImplementedError) as error:
        os.close(reading)
        os.close(writing)
        if isinstance(error, NotImplementedError):
            raise
        raise CannotStart(sentence(order.argv, error)) from error
    os.close(writing)
    return begun(pid, told_by(pid, reading))


def told_by(pid: int, reading: int) -> bytes:
    """What child `pid` tells before it becomes a program; b"" if it is killed for not getting so far. Closes `reading`.

    In its last moment it is the job's user already, and a process of that user may stop it: we must not wait for that one's pleasure.
    """
    told = b""
    news = select.poll()
    news.register(reading, select.POLLIN)
    give_up_s = time.monotonic() + _BEGIN_S
    try:
        while True:
            if not news.poll(_WAKE_MS):
                late = time.monotonic() > give_up_s
                for each in (pid, *_sibling_in(told)):
                    os.kill(each, signal.SIGKILL if late else signal.SIGCONT)
            elif piece := os.read(reading, 4096):
                told += piece
            else:
                return told
    finally:
        os.close(reading)


def _sibling_in(told: bytes) -> tuple[int, ...]:
    """Who goes on in the place of a child, if it has said so."""
    parts = told.split(_SIBLING)
    return (int(parts[1]),) if len(parts) > 2 else ()


def begun(pid: int, told: bytes) -> int:
    """The process id of a program that child `pid` was to become and that told us this before. CannotStart if it told why it did not."""
    failure, *rest = told.split(_SIBLING)
    if rest:  # its child goes on in its place, and may have failed before it said so
        os.waitpid(pid, 0)
        pid, failure = int(rest[0]), failure + rest[1]
    if failure:
        os.waitpid(pid, 0)
        raise CannotStart(failure.decode("utf-8", "replace"))
    return pid


def leave_to_sibling(sibling: int, telling: int) -> None:
    """In a child that has forked `sibling`: say so, and end. In the sibling (0) nothing."""
    if sibling:
        os.write(telling, b"%b%d%b" % (_SIBLING, sibling, _SIBLING))
        os._exit(0)


def _become(order: Order, failure: int, enter: Callable[[], object] | None) -> None:
    """The child's side of `forking`: never returns."""
    try:
        if enter:
            enter()
        if order.inside and order.inside.needs_a_child:
            leave_to_sibling(order.inside.join(), failure)
        os.setsid()
        os.chdir(order.directory)
        os.umask(JOB_UMASK)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(order.output, 1)
        os.dup2(order.output, 2)
        for number in _DEFAULTED:
            signal.signal(number, signal.SIG_DFL)
        if order.identity is not None:
            os.setgroups(order.identity.groups)
            os.setgid(order.identity.gid)
            os.setuid(order.identity.uid)
        if order.processes:
            most = _lower(order.processes, resource.getrlimit(resource.RLIMIT_NPROC)[1])
            resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        program = found(order.argv[0], order.environment.get("PATH", DEFAULT_PATH))
        os.execve(program, order.argv, order.environment)
    except (OSError, ValueError) as error:
        os.write(failure, sentence(order.argv, error).encode("utf-8", "backslashreplace"))
    finally:
        os._exit(127)


def found(program: str, path: str) -> str:
    """Where a program lies in a PATH, seen with the eyes of whoever we are now. FileNotFoundError or PermissionError."""
    if "/" in program:
        return program
    denied = False
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{program}"
        try:
            if not stat.S_ISREG(os.stat(candidate).st_mode):  # noqa: PTH116 - in the path of every start
                continue
        except OSError:
            continue
        if os.access(candidate, os.X_OK):
            return candidate
        denied = True
    if denied:
        raise PermissionError(13, "permission denied", program)
    raise FileNotFoundError(2, "executable file not found in $PATH", program)


def sentence(argv: tuple[str, ...], error: OSError | ValueError) -> str:
    """The reason in the words of a container runtime (aws-batch.md 2.3)."""
    if isinstance(error, OSError):
        why = (error.strerror or str(error)).lower().replace("$path", "$PATH")
    else:
        why = f"invalid argument: {error}"
    return f'CannotStartContainerError: exec: "{argv[0]}": {why}'
