"""A listener that takes an event now and then is asked again soon: only one that takes nothing is asked less and less often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchyard.services.announcing import deliveries as module
from batchyard.services.announcing.deliveries import Deliveries, Wanted
from batchyard.services.announcing.listeners import Listener, Notice, TryLater
from batchyard.store.shelf import Shelf

MANY = 20
PATIENCE_S = 60  # what pauses that double each time would add up to after 13 events


def test_one_event_at_a_time_is_taken_without_longer_and_longer_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    told: list[str] = []
    tries = 0

    def send(notices: Sequence[Notice]) -> int:
        nonlocal tries
        tries += 1
        if tries % 2:
            raise TryLater("not now")
        told.append(notices[0].id)
        return 1

    async def deliver_all() -> None:
        shelf = Shelf(tmp_path / "deliveries.db")
        deliveries = Deliveries(shelf, lambda: {"slow": Listener("slow", lambda _: "{}", send)}, lambda: 1)
        await deliveries.keep([Wanted("slow", Notice(str(number), 1, "{}")) for number in range(MANY)])
        while deliveries.waiting():
            await asyncio.sleep(0.01)
        await deliveries.close()
        shelf.close()

    asyncio.run(asyncio.wait_for(deliver_all(), PATIENCE_S))
    assert told == [str(number) for number in range(MANY)]
