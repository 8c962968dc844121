"""Handlers over the shelf: an operation of a small service is a plain function of its drawer, run as one transaction or one snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import apsw

from batchyard.model.fault import Fault
from batchyard.services import Caller, Handler, Params
from batchyard.services.repeating import current_step
from batchyard.store.opening import is_for_want_of_room
from batchyard.store.shelf import NO_REGION, Drawer, Place

Act = Callable[[Drawer, Caller, Params], Params]


def place_of(service: str, caller: Caller, *, is_global: bool = False) -> Place:
    """Where the documents of `caller`'s requests to `service` stand."""
    return Place(service, caller.account, NO_REGION if is_global else caller.region)


def writing(service: str, act: Act, *, is_global: bool = False) -> Handler:
    """A handler that runs `act` as one transaction, and answers when it is durable."""

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        place = place_of(service, caller, is_global=is_global)
        return await changed(desk, place, lambda drawer: act(drawer, caller, params))  # type: ignore[no-any-return]

    handler.__doc__ = act.__doc__
    return handler


def reading(service: str, act: Act, *, is_global: bool = False) -> Handler:
    """A handler that runs `act` on a snapshot of what is committed."""

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        place = place_of(service, caller, is_global=is_global)
        return desk.shelf.look(place, lambda drawer: act(drawer, caller, params))  # type: ignore[no-any-return]

    handler.__doc__ = act.__doc__
    return handler


async def changed(desk: Any, place: Place, act: Callable[[Drawer], Any]) -> Any:
    """What `act` returned, once its changes are durable. A full disk is a Fault that SDKs try again after.

    Within a step that may be repeated, a change that was made already is not made again (see `repeating.py`).
    """
    step = current_step.get()
    if step is not None:
        act = step.once(act)
    try:
        return await asyncio.wrap_future(desk.shelf.change(place, act))
    except (apsw.Error, OSError) as error:
        if not is_for_want_of_room(error):
            raise
        raise Fault("ServiceUnavailableException", "The disk of the service's records is full: free some space and try again.") from None
