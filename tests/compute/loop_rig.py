"""What a task of the node comes to, on a loop that has nothing else to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import Task

T = TypeVar("T")


def outcome(begin: Callable[[Loop], Coroutine[Any, Any, T]]) -> T:
    """What it returns; raises what it raises."""
    loop = Loop(lambda: None)
    asked = Task(begin(loop))
    give_up_s = boot_s() + 90
    while not asked.done:
        assert boot_s() < give_up_s
        loop.wake_at(boot_s() + 0.5)
        loop.once()
    return asked.result()
