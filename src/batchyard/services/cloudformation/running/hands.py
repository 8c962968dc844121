"""How a step reaches the services, and how it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller

PAUSE_FIRST_S = 0.02
PAUSE_LAST_S = 0.5
CANCELLED = "Resource creation cancelled"


class StackHands:
    """`resources.type.Hands` for one step: calls are made by `caller`, by way of "cloudformation".

    Once `cancelled` says so, waiting is over: somebody else's failure ends the operation.
    """

    partition = "aws"

    def __init__(self, desk: Any, caller: Caller, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._desk = desk
        self._caller = replace(caller, via="cloudformation")
        self._cancelled = cancelled

    @property
    def desk(self) -> Any:
        return self._desk

    @property
    def caller(self) -> Caller:
        return self._caller

    @property
    def cancelled(self) -> Callable[[], bool]:
        return self._cancelled

    @property
    def account(self) -> str:
        return self._caller.account

    @property
    def region(self) -> str:
        return self._caller.region

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An operation's answer. Raises its Fault."""
        return await self._desk.calls(self._caller, service, operation, params or {})  # type: ignore[no-any-return]

    async def until(self, done: Callable[[], Awaitable[Any]], *, patience_s: float, what: str) -> Any:
        """What `done` gives as soon as it is true. Raises Fault("NotStabilized") after `patience_s`, or when the step is cancelled."""
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + patience_s, PAUSE_FIRST_S
        while True:
            value = await done()
            if value:
                return value
            if self._cancelled():
                raise Fault("NotStabilized", CANCELLED)
            if loop.time() >= deadline:
                raise Fault("NotStabilized", f"Exceeded attempts to wait: {what} after {patience_s:.0f} s")
            await asyncio.sleep(min(pause_s, max(deadline - loop.time(), 0.001)))
            pause_s = min(pause_s * 1.5, PAUSE_LAST_S)
