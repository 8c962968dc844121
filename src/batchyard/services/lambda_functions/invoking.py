"""Invoke: a function is run and answered for, or its event is kept to be run soon."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.lambda_functions import events
from batchyard.services.lambda_functions.names import LATEST, invalid, named
from batchyard.services.lambda_functions.records import require_named
from batchyard.services.lambda_functions.running import outcome_of
from batchyard.services.lambda_functions.sandbox import too_many
from batchyard.services.shelved import place_of

SYNCHRONOUS_BYTES = 6_291_456
ASYNCHRONOUS_BYTES = 1_048_576


async def invoke(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, Invoke: RequestResponse waits for the answer, Event is durable when this answers, DryRun only checks."""
    kind = params.get("InvocationType", "RequestResponse")
    for member in ("DurableExecutionName", "TenantId"):
        if params.get(member):
            raise invalid(f"{member}: not available in this version of Batchyard; leave it out.")
    wanted = named(caller, params["FunctionName"], params.get("Qualifier"))
    payload, context = _event_of(params, kind), _client_context(params.get("ClientContext"))
    desk.shelf.look(place_of("lambda", caller), lambda drawer: require_named(drawer, caller, wanted))
    if kind == "DryRun":
        return {"StatusCode": 204}
    if kind == "Event":
        await events.accept(desk, caller, wanted.name, payload, context)
        return {"StatusCode": 202}
    if desk.functions.sandbox.is_full:
        raise too_many()
    outcome = await outcome_of(desk, caller, wanted, payload, context)
    shown: Params = {"StatusCode": 200, "Payload": outcome.payload, "ExecutedVersion": LATEST}
    if outcome.function_error:
        shown["FunctionError"] = outcome.function_error
    if params.get("LogType") == "Tail":
        shown["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    return shown


def _event_of(params: Params, kind: str) -> str:
    payload: bytes = params.get("Payload") or b"{}"
    limit = ASYNCHRONOUS_BYTES if kind == "Event" else SYNCHRONOUS_BYTES
    if len(payload) > limit:
        raise Fault(
            "RequestTooLargeException",
            f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)",
            Type="User",
        )
    try:
        json.loads(payload)
        return payload.decode()
    except (ValueError, RecursionError) as error:
        raise Fault("InvalidRequestContentException", f"Could not parse request body into json: {error}", Type="User") from None


def _client_context(text: str | None) -> Any:
    if not text:
        return None
    try:
        told = json.loads(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        raise Fault("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.", Type="User") from None
    if not isinstance(told, dict):
        raise Fault("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.", Type="User")
    return told
