"""What only a process without other threads can do, as the node is one: a worker of the tests has some."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any


def played(act: Callable[..., None], *given: Any) -> None:
    """Play it in a process of its own. One with other threads cannot step into a job's namespaces, nor come back, and a child of clone3
    may wait there for ever for threads that it does not have."""
    player = multiprocessing.get_context("spawn").Process(target=act, args=given)
    player.start()
    player.join(180)
    player.kill()
    assert player.exitcode == 0, "it says why on stderr"
