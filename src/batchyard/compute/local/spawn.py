"""Starting a program as somebody else, in a directory of its own, as fast as Python can (docs/decisions/0003-how-jobs-are-spawned.md).

The quick way borrows: the node's single thread takes on the job's user, directory and (see `cgroup1`) cgroup for the fraction of a
millisecond that `posix_spawn` needs, because the child inherits them and nothing has to be forked. The slow way forks; it is for what
cannot be borrowed safely (a user that may already run other processes) and for systems that lack the quick way's pieces.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
JOB_UMASK = 0o022
# Ignored signals stay ignored across exec, and a job expects the defaults: Python ignores some, `nohup` and a script's `&` others.
_DEFAULTED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
CAN_BORROW = sys.platform.startswith("linux") and hasattr(os, "posix_spawn") and hasattr(os, "setresuid")


class Identity(NamedTuple):
    """Who a job is. `shared` ones may have other processes on this machine, so the node never wears them."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    shared: bool = False


class Order(NamedTuple):
    """All that is needed to start a program. `identity` None: as the node itself."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    output: int  # its stdout and stderr
    identity: Identity | None


class CannotStart(Exception):
    """The program cannot be started; the text is what the job's owner should read."""


def start(order: Order) -> int:
    """Start the program and return its process id: leader of a new session, stdin from /dev/null. CannotStart if it cannot be."""
    if CAN_BORROW and not (order.identity and order.identity.shared):
        return borrowing(order)
    return forking(order)


def borrowing(order: Order) -> int:
    """Start by posix_spawn, with our own thread in the job's place for that moment."""
    try:
        os.chdir(order.directory)
        with _worn(order.identity):
            program = found(order.argv[0], order.environment.get("PATH", DEFAULT_PATH))
            return os.posix_spawn(
                program,
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
    except (OSError, ValueError) as error:
        raise CannotStart(sentence(order.argv, error)) from error
    finally:
        os.chdir("/")


@contextmanager
def _worn(identity: Identity | None) -> Iterator[None]:
    """Be the job's user; the saved ids stay ours, and exec drops them for the job."""
    if identity is None:
        yield
        return
    os.setresgid(identity.gid, identity.gid, 0)
    os.setresuid(identity.uid, identity.uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def forking(order: Order, fork: Callable[[], int] = os.fork, enter: Callable[[], object] | None = None) -> int:
    """Start by a real fork; `fork` may be another way to get a child, and `enter` what the child does first (see `cgroup2`)."""
    reading, writing = os.pipe()
    try:
        pid = fork()
    except (OSError, NotImplementedError) as error:
        os.close(reading)
        os.close(writing)
        if isinstance(error, NotImplementedError):
            raise
        raise CannotStart(sentence(order.argv, error)) from error
    if pid == 0:
        _become(order, writing, enter)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        failure = answer.read()
    if failure:
        os.waitpid(pid, 0)
        raise CannotStart(failure.decode("utf-8", "replace"))
    return pid


def _become(order: Order, failure: int, enter: Callable[[], object] | None) -> None:
    """The child's side of `forking`: never returns."""
    try:
        if enter:
            enter()
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
