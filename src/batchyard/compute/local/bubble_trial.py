"""Whether bubbles can be had on this machine: it is tried once, by whoever wants to know, before any job depends on it."""

from __future__ import annotations

import os

from batchyard.compute.local import bubble, spawn
from batchyard.compute.local.bubbles import Bubbles, Lost
from batchyard.compute.local.spawn import CannotStart, Order

_FINE = "fine"


def why_not(place: str) -> str:
    """Why bubbles cannot be had here; "" if they can. It is tried, in a child, with a program that is run in one.

    `place` is an empty directory, which is not empty any more afterwards.
    """
    bwrap = bubble.program()
    if not bwrap:
        return "bubblewrap (bwrap) is not installed"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, _tried(bwrap, place).encode("utf-8", "backslashreplace"))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(pid, 0)
    return "" if told == _FINE else told or "the trial ended without an answer"


def _tried(bwrap: str, place: str) -> str:
    """`_FINE`, or why it did not work."""
    work = f"{place}/data/work"
    for part in ("home", "tmp"):
        os.makedirs(f"{work}/trial/{part}")  # noqa: PTH103 - strings all the way
    root, made = _identity("/"), None
    try:
        bubbles = Bubbles(bwrap, f"{place}/data", work, (), {}, kept=False)
        made = bubbles.trial("trial")
        nothing = os.open(os.devnull, os.O_WRONLY)
        pid = spawn.start(Order(("/bin/sh", "-c", "exit 7"), {}, f"{work}/trial/home", nothing, None, made))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except (OSError, AttributeError) as error:  # a system, or a Python, that lacks a piece
        return str(error)
    except (CannotStart, Lost) as why:
        return str(why).removeprefix("CannotStartContainerError: ")
    finally:
        if made:
            made.end()
    if code != 7:
        return f"a program that was run in its namespaces ended with {code}"
    return _FINE if _identity("/") == root else "the service runs in a chroot, which it could not come back to"


def _identity(directory: str) -> tuple[int, int]:
    found = os.stat(directory)  # noqa: PTH116 - at every start
    return found.st_dev, found.st_ino
