"""Job queues as targets: an event submits a job, once, whatever crashes between the event and the job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Params
from batchyard.services.announcing.deliveries import DAY_MS, HERE
from batchyard.services.announcing.listeners import Notice, Refused, TryLater
from batchyard.services.batch.submit import submit_job
from batchyard.services.events.calling import Authorize, caller_of
from batchyard.store.shelf import Drawer, Place, Shelf
from batchyard.wire import shapes
from batchyard.wire.http import HttpRequest
from batchyard.wire.servicemodel import ServiceModel, Shape

INTENT = "job"
KEPT_MS = 2 * DAY_MS  # no delivery is tried for longer than a day
MOST_BETWEEN = 1_000  # intents between two looks for old ones
_OF_THE_TARGET = frozenset(("jobName", "jobQueue", "jobDefinition"))
_LATER = frozenset(("TooManyRequestsException", "ServerException", "ServiceUnavailableException"))


def params_of(target: Mapping[str, Any], text: str) -> Params:
    """The parameters of SubmitJob: BatchParameters, and what of the text (Input, or what a transformer made of the event) belongs to it.

    Members may be written as in BatchParameters or as in Batch's own API. Raises a Fault where they do not fit Batch's model.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Fault("ClientException", "what the target is sent is no JSON object")
    service = shapes.load("batch")
    asked = _spelled(service.model, service.model.input_shape("SubmitJob"), given)
    batch = target["BatchParameters"]
    params: Params = {name: value for name, value in asked.items() if name not in _OF_THE_TARGET}
    params |= {"jobName": batch["JobName"], "jobQueue": target["Arn"], "jobDefinition": batch["JobDefinition"]}
    if batch.get("ArrayProperties", {}).get("Size"):
        params["arrayProperties"] = {"size": batch["ArrayProperties"]["Size"]}
    if batch.get("RetryStrategy", {}).get("Attempts"):
        params["retryStrategy"] = {"attempts": batch["RetryStrategy"]["Attempts"]}
    body = json.dumps(params).encode()
    request = HttpRequest("POST", "/v1/submitjob", "", {"content-type": "application/json"}, _nothing())
    return service.decode("SubmitJob", request, body)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _spelled(model: ServiceModel, shape: Shape, value: Any) -> Any:
    """A value with the members of structures as Batch spells them; members that Batch does not have are left out, as EventBridge does."""
    if shape.type == "structure" and isinstance(value, dict):
        known = {name[:1].lower() + name[1:]: inner for name, inner in value.items()}
        return {name: _spelled(model, model.shapes[member.shape], known[name]) for name, member in shape.members.items() if name in known}
    if shape.type == "list" and isinstance(value, list) and shape.member:
        return [_spelled(model, model.shapes[shape.member.shape], inner) for inner in value]
    return value


class Submitter:
    """One per server. `shelf` is that of the deliveries: the id of each job is kept there before it is submitted.

    `desk` is what SubmitJob needs; it is there before the first delivery.
    """

    def __init__(self, shelf: Shelf, authorize: Authorize) -> None:
        self.desk: Any = None
        self._shelf = shelf
        self._authorize = authorize
        self._room = 0

    async def take(self, place: Place, target: Mapping[str, Any], rule_name: str, key: str, notices: Sequence[Notice]) -> int:
        """See `listeners.Take`. A notice whose job is there already was taken before, and the answer lost in a crash."""
        ids = await self._intents(key, notices)
        outcomes = await asyncio.gather(
            *(self._submit(place, target, rule_name, notice, id) for notice, id in zip(notices, ids, strict=True)), return_exceptions=True
        )
        for taken, outcome in enumerate(outcomes):
            if isinstance(outcome, BaseException):
                if taken:
                    return taken
                raise outcome
        return len(notices)

    async def _intents(self, key: str, notices: Sequence[Notice]) -> list[str]:
        """The id that the job of each notice has, or is to have; durable when it returns."""
        now_ms = self.desk.now_ms()
        new = [self.desk.new_job_id() for _ in notices]
        self._room -= len(notices)
        is_time_to_forget = self._room < 0
        if is_time_to_forget:
            self._room = MOST_BETWEEN

        def change(drawer: Drawer) -> list[str]:
            if is_time_to_forget:
                for name, intent in drawer.entries(INTENT):
                    if intent["at_ms"] < now_ms - KEPT_MS:
                        drawer.delete(INTENT, name)
            ids: list[str] = []
            for notice, id in zip(notices, new, strict=True):
                name = f"{notice.id} {key}"
                known = drawer.get(INTENT, name)
                if known is None:
                    drawer.put(INTENT, name, {"id": id, "at_ms": now_ms})
                ids.append(known["id"] if known else id)
            return ids

        return await asyncio.wrap_future(self._shelf.change(HERE, change))

    async def _submit(self, place: Place, target: Mapping[str, Any], rule_name: str, notice: Notice, job_id: str) -> None:
        if self.desk.read.job(job_id) is not None:
            return
        caller = caller_of(place, target["RoleArn"], rule_name, notice.id)
        try:
            params = params_of(target, notice.text)
            self._authorize(caller, "batch", "SubmitJob", params)
            await submit_job(self.desk, caller, params, job_id)
        except Fault as fault:
            if fault.code in _LATER:
                raise TryLater(fault.message) from fault
            raise Refused(fault.message) from fault
