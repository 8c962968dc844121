"""PutEvents and TestEventPattern: events of one's own, and whether a pattern matches one."""

from __future__ import annotations

import json
import uuid
from typing import Any

from batchyard.core.event_patterns import BadPattern, compile_pattern
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.announcing.happening import Happening, envelope
from batchyard.services.events.names import bus_arn, refusal

MOST_BYTES = 262_144


async def put_events(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, PutEvents: each entry is taken, durably, or refused by itself."""
    if params.get("EndpointId"):
        raise refusal("EndpointId is not available in this version of Batchyard: leave it out.")
    if not 1 <= len(params["Entries"]) <= 10:
        raise refusal("Entries must hold 1 to 10 entries.")
    answers: list[Params] = []
    events: list[Happening] = []
    for entry in params["Entries"]:
        event = _event(caller, entry, desk.now_ms())
        answers.append({"EventId": event["id"]} if isinstance(event, dict) else {"ErrorCode": event[0], "ErrorMessage": event[1]})
        if isinstance(event, dict):
            events.append(event)
    await desk.announcer.publish(events)
    return {"FailedEntryCount": len(answers) - len(events), "Entries": answers}


def _event(caller: Caller, entry: Params, now_ms: int) -> Happening | tuple[str, str]:
    """The event, or the code and the words of its refusal."""
    for member in ("Source", "DetailType", "Detail"):
        if not entry.get(member):
            return "InvalidArgument", f"Parameter {member} is not valid. Reason: {member} is a required argument."
    if entry["Source"].startswith("aws."):
        return "NotAuthorizedForSourceException", "Not authorized for the source."
    if (entry.get("EventBusName") or "default") not in ("default", bus_arn(caller)):
        return "InvalidArgument", f"EventBus not found: {entry['EventBusName']}"
    if len(entry["Detail"].encode("utf-8", "replace")) > MOST_BYTES:
        return "InvalidArgument", f"Total size of the entries in the request is over the limit of {MOST_BYTES} bytes."
    try:
        detail = json.loads(entry["Detail"])
    except (ValueError, RecursionError):
        detail = None
    if not isinstance(detail, dict):
        return "MalformedDetail", "Detail is malformed."
    at = entry.get("Time")
    at_ms = now_ms if at is None else int(at.timestamp() * 1000) if hasattr(at, "timestamp") else int(at * 1000)
    id, resources = str(uuid.uuid4()), list(entry.get("Resources") or [])
    return envelope(id, entry["DetailType"], entry["Source"], caller.account, caller.region, at_ms, resources, detail)


async def test_event_pattern(_desk: Any, _caller: Caller, params: Params) -> Params:
    """API reference, TestEventPattern."""
    try:
        event = json.loads(params["Event"])
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise refusal("Parameter Event is not valid. Reason: it must be a JSON object.")
    try:
        return {"Result": compile_pattern(params["EventPattern"])(event)}
    except BadPattern as bad:
        raise Fault("InvalidEventPatternException", str(bad)) from None
