"""Schedules that fire while the service runs, over the real file of deliveries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from batchyard.core.schedules import BadSchedule, compile_schedule
from batchyard.services.announcing.deliveries import Deliveries, Wanted
from batchyard.services.announcing.happening import Happening, envelope
from batchyard.services.announcing.listeners import Listener, Notice
from batchyard.services.announcing.timers import Timer, Timers
from batchyard.store.shelf import Shelf

EVERY_MS = 30


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def firing(at_ms: int) -> Happening:
    return envelope(str(at_ms), "Scheduled Event", "aws.events", "0" * 12, "us-east-1", at_ms, [], {})


def test_it_fires_again_and_again_until_the_rule_is_gone(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(fires_until_gone(tmp_path), 60))


async def fires_until_gone(folder: Path) -> None:
    told: list[str] = []

    def send(notices: Sequence[Notice]) -> int:
        told.extend(notice.id for notice in notices)
        return len(notices)

    shelf = Shelf(folder / "deliveries.db")
    deliveries = Deliveries(shelf, lambda: {"rule": Listener("rule", lambda _: "{}", send)}, now_ms)
    timer = Timer("timer", "every moment", lambda after_ms: after_ms + EVERY_MS, firing)
    timers: dict[str, Timer] = {"timer": timer}
    running = Timers(deliveries, lambda: timers, lambda event: [Wanted("rule", Notice(event["id"], now_ms(), "{}"))], now_ms)
    running.start()
    while len(told) < 3:
        await asyncio.sleep(0.01)
    timers.clear()
    running.refresh()
    while deliveries.look(lambda drawer: drawer.names("due")):
        await asyncio.sleep(0.01)
    assert told == sorted(set(told), key=int)
    await running.close()
    await deliveries.close()
    shelf.close()


def test_an_expression_that_means_nothing_says_why() -> None:
    try:
        compile_schedule("cron(0 10 * * * *)")
    except BadSchedule as bad:
        assert str(bad) == "one of day of month and day of week must be ?, the other one must not"
    else:
        raise AssertionError("it was taken")
