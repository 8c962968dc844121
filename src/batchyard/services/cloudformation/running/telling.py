"""Tells the bus of events, and the URLs of NotificationARNs, what became of stacks and their resources.

The outbox is the list of events itself: the transaction that writes an event notes that it is untold (`StackBook.add_event`), and the note
goes when the deliveries are durable. A crash between the two tells an event again, under the same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from batchyard.services.announcing.happening import Happening, envelope
from batchyard.services.announcing.listeners import Listener
from batchyard.services.announcing.webhooks import webhook
from batchyard.services.cloudformation.running.book import EVENT, NOTIFIED, SERVICE, UNTOLD, URL, StackBook
from batchyard.services.cloudformation.running.records import Stack
from batchyard.store.shelf import Document, Drawer, Place, Shelf

log = logging.getLogger(__name__)

SOURCE = "aws.cloudformation"
STACK_CHANGE = "CloudFormation Stack Status Change"
RESOURCE_CHANGE = "CloudFormation Resource Status Change"
AT_ONCE = 200
PAUSE_S = 0.05  # between rounds: a stack of many resources writes hundreds of events in a second
AGAIN_S = 2.0


class Teller:
    """One for a server: follows what is untold, and hands it to the announcer."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._places: set[Place] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take up what an earlier server left untold."""
        for place in self._desk.shelf.places(SERVICE):
            self.wake(place)

    def wake(self, place: Place) -> None:
        """Something was written at `place`."""
        if self._task is None:  # a server that had no stacks when it started
            self._task = asyncio.create_task(self._follow())
        self._places.add(place)
        self._news.set()

    async def close(self) -> None:
        """Let go; what is untold is told after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(PAUSE_S)
            self._news.clear()
            places, self._places = self._places, set()
            for place in places:
                try:
                    await self._tell(place)
                except Exception:  # the disk is full, say: stacks must go on all the same, and what is not told yet stays untold
                    log.exception("what became of stacks could not be told; it is tried again")
                    await asyncio.sleep(AGAIN_S)
                    self.wake(place)

    async def _tell(self, place: Place) -> None:
        while untold := self._desk.shelf.look(place, lambda drawer: drawer.entries(UNTOLD)):
            for stack_id, note in untold:
                stack, events = self._desk.shelf.look(place, partial(self._read, stack_id, int(note["after"])))
                urls = [key_of(url) for url in stack.notification_arns]
                await self._desk.announcer.tell([(happening_of(stack, place, number, event), urls) for number, event in events])
                told = events[-1][0]
                await asyncio.wrap_future(self._desk.shelf.change(place, partial(_told, stack_id, told)))

    def _read(self, stack_id: str, after: int, drawer: Drawer) -> tuple[Stack, list[tuple[int, Document]]]:
        stack = StackBook(drawer, self._desk.sealer).stack(stack_id)
        assert stack is not None
        entries = drawer.entries(EVENT, prefix=f"{stack_id}/", after=f"{stack_id}/{after:08d}", limit=AT_ONCE)
        return stack, [(int(name.rpartition("/")[2]), event) for name, event in entries]


def _told(stack_id: str, number: int, drawer: Drawer) -> None:
    """All events of a stack up to `number` were handed on."""
    note = drawer.get(UNTOLD, stack_id)
    if note is not None and note["last"] <= number:
        drawer.delete(UNTOLD, stack_id)
    elif note is not None:
        drawer.put(UNTOLD, stack_id, {**note, "after": number})


def happening_of(stack: Stack, place: Place, number: int, event: Document) -> Happening:
    """A stack's event in EventBridge's form. The same event has the same id whenever it is told."""
    id = str(uuid.UUID(bytes=hashlib.sha256(f"{stack.id}/{number}".encode()).digest()[:16], version=4))
    is_own = event["PhysicalResourceId"] == stack.arn
    status = {"status": event["ResourceStatus"], "status-reason": event.get("ResourceStatusReason", "")}
    of_resource = {
        "logical-resource-id": event["LogicalResourceId"],
        "physical-resource-id": event["PhysicalResourceId"],
        "resource-type": event["ResourceType"],
    }
    detail = {
        "stack-id": stack.arn,
        **({} if is_own else of_resource),
        "status-details": status,
        "client-request-token": event.get("ClientRequestToken", ""),
    }
    kind = STACK_CHANGE if is_own else RESOURCE_CHANGE
    return envelope(id, kind, SOURCE, place.account, place.region, event["TimestampMs"], [stack.arn], detail)


def key_of(url: str) -> str:
    """The listener's key of a URL among NotificationARNs."""
    return f"notification/{url}"


def listeners_of_stacks(shelf: Shelf, secret: bytes) -> Mapping[str, Listener]:
    """A listener for each URL that a stack's NotificationARNs have named, by key. They get what is meant for them alone."""
    found = {}
    for url in shelf.look(NOTIFIED, lambda drawer: drawer.names(URL)):
        found[key_of(url)] = Listener(key_of(url), lambda _: None, webhook(url, secret).send, is_for_bus=False)
    return found
