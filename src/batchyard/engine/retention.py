"""The chore that keeps the past from growing for ever: it asks the engine, in small turns among all others, to forget what is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from batchyard.model.requests import Forget, Request

MOST = 200  # jobs or definitions in one turn
PAUSE_S = 0.05  # between two turns of it, so that callers do not wait for it
EVERY_S = 3600.0


class Retention(NamedTuple):
    """How long finished jobs and INACTIVE job definitions are kept, in seconds; None keeps them for ever."""

    jobs_s: float | None
    definitions_s: float | None


async def run_once(ask: Callable[[Request], Awaitable[Any]], retention: Retention, now_ms: int) -> float:
    """One step. The seconds until the next: soon if there may be more to forget, else within a part of the shortest time to keep."""
    times = [kept_s for kept_s in retention if kept_s is not None]
    if not times:
        return EVERY_S
    before = [None if kept_s is None else now_ms - int(kept_s * 1000) for kept_s in retention]
    forgotten = await ask(Forget(jobs_before_ms=before[0], most=MOST))
    if not forgotten:
        forgotten = await ask(Forget(definitions_before_ms=before[1], most=MOST))
    return PAUSE_S if forgotten else min(EVERY_S, max(PAUSE_S, min(times) / 10))
