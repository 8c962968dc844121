"""Asynchronous invocations: kept until they have been run, and tried twice more after a failure, as Lambda does."""

from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.lambda_functions.names import Named
from batchyard.services.lambda_functions.rooms import rooms_of
from batchyard.services.shelved import changed
from batchyard.store.shelf import Document, Place

if TYPE_CHECKING:
    from batchyard.services.lambda_functions.sandbox import Sandbox

log = logging.getLogger(__name__)

EVENT = "event"
PLACE = Place("lambda-events", "", "")  # of all accounts and regions: whoever starts again looks here
DELAYS_MS = (60_000, 120_000)
LOOK_S = 5.0


class Functions:
    """What the server holds for functions: where they run, how they reach it, and which asynchronous invocations are under way."""

    def __init__(self, folder: Path, endpoint_url: str) -> None:
        self._folder = folder
        self._sandbox: Sandbox | None = None
        self.endpoint_url = endpoint_url
        self.under_way: dict[str, asyncio.Task[None]] = {}
        self.is_stopped = False

    @property
    def sandbox(self) -> Sandbox:
        """Where they run; made, and its modules imported, for the first of them."""
        if self._sandbox is None:
            from batchyard.services.lambda_functions.sandbox import Sandbox

            self._sandbox = Sandbox(self._folder)
            if self.is_stopped:
                self._sandbox.close()
        return self._sandbox

    def stop(self) -> None:
        """End what runs, and begin nothing more. Asynchronous invocations among it are begun again by the next server."""
        self.is_stopped = True
        if self._sandbox is not None:
            self._sandbox.close()

    async def close(self) -> None:
        """Stop, and let go once all have come to their end."""
        self.stop()
        if self.under_way:
            await asyncio.wait(self.under_way.values())
        if self._sandbox is not None or rooms_of(self._folder).exists():  # a server that was killed may have left some
            self.sandbox.leave()


async def accept(desk: Any, caller: Caller, name: str, payload: str, client_context: Any) -> None:
    """Keep an event, durably, and begin with it."""
    event = {
        "id": str(uuid.uuid4()),
        "account": caller.account,
        "region": caller.region,
        "name": name,
        "payload": payload,
        "client_context": client_context,
        "attempts": 0,
        "due_at_ms": 0,
    }
    await changed(desk, PLACE, lambda drawer: drawer.put(EVENT, event["id"], event))
    _begin(desk, event)


async def run_once(desk: Any, now_ms: int) -> float:
    """Begin with what is due and not under way: further attempts, and what an earlier server left. Seconds until the next look."""
    functions: Functions = desk.functions
    if functions.is_stopped:
        return LOOK_S
    for event in desk.shelf.look(PLACE, lambda drawer: drawer.all(EVENT)):
        if event["due_at_ms"] <= now_ms and event["id"] not in functions.under_way:
            _begin(desk, event)
    return LOOK_S


def _begin(desk: Any, event: Document) -> None:
    functions: Functions = desk.functions
    task = asyncio.get_running_loop().create_task(_run(desk, event))
    functions.under_way[event["id"]] = task
    task.add_done_callback(lambda _: functions.under_way.pop(event["id"], None))


async def _run(desk: Any, event: Document) -> None:
    from batchyard.services.lambda_functions.running import outcome_of

    caller = Caller(event["account"], event["region"], "", f"arn:aws:iam::{event['account']}:root", event["account"], event["id"])
    try:
        outcome = await outcome_of(
            desk, caller, Named(event["name"], ""), event["payload"], event["client_context"], request_id=event["id"]
        )
        has_failed = bool(outcome.function_error)
    except Fault as fault:
        if desk.functions.is_stopped:
            return
        log.warning("an asynchronous invocation of %s was not run: %s", event["name"], fault.message)
        has_failed = fault.code != "ResourceNotFoundException"
    attempts = event["attempts"] + 1
    if has_failed and attempts <= len(DELAYS_MS):
        later = {**event, "attempts": attempts, "due_at_ms": desk.now_ms() + DELAYS_MS[attempts - 1]}
        await changed(desk, PLACE, lambda drawer: drawer.put(EVENT, event["id"], later))
    else:
        await changed(desk, PLACE, lambda drawer: drawer.delete(EVENT, event["id"]))
