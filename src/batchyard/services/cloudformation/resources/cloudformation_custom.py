"""Custom resources: a Lambda function makes them, and answers at the response URL."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, Properties, ResourceType
from batchyard.services.cloudformation.running import signals
from batchyard.services.cloudformation.template.functions import as_text

DEFAULT_TIMEOUT_S = 3600
_LAMBDA = "arn:aws:lambda:"
_OWN = ("ServiceToken", "ServiceTimeout")


async def create(hands: Hands, asked: Asked) -> Made:
    """Sends RequestType Create. Ref is the `PhysicalResourceId` that the function answers, or else a name of its own."""
    said = await _request(hands, asked, asked.properties, {"RequestType": "Create"}, asked.token)
    return _made(said, f"{asked.stack_name}-{asked.logical_id}-{asked.token[:12].upper()}")


async def update(hands: Hands, asked: Asked, before: Kept) -> Made:
    """Sends RequestType Update. With another physical id the old one is deleted at the end of the update."""
    event = {
        "RequestType": "Update",
        "PhysicalResourceId": before.physical_id,
        "OldResourceProperties": _texts(before.properties, is_top=True),
    }
    return _made(await _request(hands, asked, asked.properties, event, asked.token), before.physical_id)


async def delete(hands: Hands, kept: Kept) -> None:
    """Sends RequestType Delete."""
    await _request(hands, kept, kept.properties, {"RequestType": "Delete", "PhysicalResourceId": kept.physical_id}, kept.token)


async def _request(hands: Hands, of: Asked | Kept, properties: Properties, event: dict[str, Any], token: str) -> dict[str, Any]:
    """What the function answered. Raises Fault when it said FAILED, failed itself, or took too long."""
    service = str(properties.get("ServiceToken", ""))
    if not service.startswith(_LAMBDA):
        raise Fault("ValidationError", f"Invalid service token: {service or '(none)'}: only ARNs of Lambda functions are served here")
    event |= {
        "ServiceToken": service,
        "ResponseURL": signals.url_of(hands.desk, hands.account, token),
        "StackId": of.stack_id,
        "RequestId": f"{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}",
        "LogicalResourceId": of.logical_id,
        "ResourceType": of.type,
        "ResourceProperties": _texts(properties, is_top=True),
    }
    calling = None
    if not signals.taken(hands.desk, hands.account, token):
        calling = asyncio.create_task(_invoke(hands, service, event))

    async def response() -> dict[str, Any] | None:
        said = signals.taken(hands.desk, hands.account, token)
        if said:
            return next(iter(said.values()))
        if calling is not None and calling.done():
            problem = calling.result()
            if problem:
                raise Fault("ValidationError", problem)
        return None

    timeout_s = int(properties.get("ServiceTimeout") or DEFAULT_TIMEOUT_S)
    try:
        said: dict[str, Any] = await hands.until(response, patience_s=timeout_s, what="response")
    except Fault as fault:
        if fault.message.startswith("Exceeded"):
            raise Fault(
                "NotStabilized", "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId"
            ) from None
        raise
    finally:
        if calling is not None:
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling
        await signals.forget(hands.desk, hands.account, token)
    if said["Status"] != "SUCCESS":
        why = said.get("Reason") or "no reason was given"
        raise Fault("ValidationError", f"Received response status [FAILED] from custom resource. Message returned: {why}")
    return said


async def _invoke(hands: Hands, service: str, event: dict[str, Any]) -> str:
    """Runs the function; what went wrong with it, "" when it ended well."""
    try:
        answer = await hands.call("lambda", "Invoke", {"FunctionName": service, "Payload": json.dumps(event).encode()})
    except Fault as fault:
        return fault.message
    if not answer.get("FunctionError"):
        return ""
    payload = answer.get("Payload") or b"{}"
    with contextlib.suppress(msgspec.DecodeError):
        told = msgspec.json.decode(payload)
        return f"The function {service} failed before it responded: {told.get('errorMessage', payload)}"
    return f"The function {service} failed before it responded."


def _made(said: Mapping[str, Any], otherwise: str) -> Made:
    data = said.get("Data") or {}
    attributes = {str(name): value for name, value in data.items()} if isinstance(data, dict) else {}
    return Made(str(said.get("PhysicalResourceId") or otherwise), attributes)


def _texts(value: Any, *, is_top: bool = False) -> Any:
    """Scalars as strings, as CloudFormation sends them."""
    if isinstance(value, dict):
        return {key: _texts(inner) for key, inner in value.items() if not (is_top and key == "ServiceTimeout")}
    if isinstance(value, list):
        return [_texts(inner) for inner in value]
    return as_text(value)


TYPES = (ResourceType("AWS::CloudFormation::CustomResource", create, update, delete),)
