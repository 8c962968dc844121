"""Forgets stacks that were deleted long ago: AWS shows them for 90 days, and so do we."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from batchyard.services.cloudformation.running.book import CHANGE_SET, EVENT, RESOURCE, SERVICE, STACK, TEMPLATE, StackBook
from batchyard.store.shelf import Drawer

SHOWN_MS = 90 * 86_400_000
EVERY_S = 3600.0
AT_ONCE = 50  # stacks in one transaction


async def run_once(desk: Any, now_ms: int) -> float:
    """Take what is left of such stacks off the shelf; seconds until the next look."""
    sealer = desk.sealer
    for place in desk.shelf.places(SERVICE):
        stacks = desk.shelf.look(place, lambda drawer: StackBook(drawer, sealer).stacks())
        over = [stack.id for stack in stacks if stack.status == "DELETE_COMPLETE" and 0 < stack.deleted_ms < now_ms - SHOWN_MS]
        for first in range(0, len(over), AT_ONCE):
            await asyncio.wrap_future(desk.shelf.change(place, partial(_forget, stack_ids=over[first : first + AT_ONCE])))
    return EVERY_S


def _forget(drawer: Drawer, *, stack_ids: list[str]) -> None:
    for id in stack_ids:
        for kind in (EVENT, RESOURCE, TEMPLATE, CHANGE_SET):
            for name, _ in drawer.entries(kind, prefix=f"{id}/"):
                drawer.delete(kind, name)
        drawer.delete(STACK, id)
