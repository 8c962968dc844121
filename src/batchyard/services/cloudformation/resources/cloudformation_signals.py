"""AWS::CloudFormation::WaitCondition and its handle: a stack that waits for word from outside."""

from __future__ import annotations

import json

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, Properties, ResourceType
from batchyard.services.cloudformation.running import signals

DEFAULT_TIMEOUT_S = 43_200
_UNITS = {"H": 3600, "M": 60, "S": 1}


async def create_handle(hands: Hands, asked: Asked) -> Made:
    """A URL to send signals to. Ref is that URL."""
    return Made(signals.url_of(hands.desk, hands.account, asked.token))


async def update_handle(hands: Hands, asked: Asked, before: Kept) -> Made:
    """A handle has no properties."""
    return Made(before.physical_id)


async def delete_handle(hands: Hands, kept: Kept) -> None:
    """Forgets what was signalled."""
    await signals.forget(hands.desk, hands.account, signals.token_in(kept.physical_id))


async def create(hands: Hands, asked: Asked) -> Made:
    """Waits for Count signals of success at the handle's URL, or, with a CreationPolicy, by SignalResource. Ref is a name of its own."""
    policy = asked.creation_policy.get("ResourceSignal", {}) if asked.creation_policy else {}
    handle = str(asked.properties.get("Handle") or "")
    token = signals.token_in(handle) if handle else signals.resource_token(asked.stack_id, asked.logical_id)
    count = int(policy.get("Count", 1) if policy else asked.properties.get("Count", 1))
    timeout_s = _duration_s(str(policy.get("Timeout", "PT5M"))) if policy else int(asked.properties.get("Timeout") or DEFAULT_TIMEOUT_S)

    async def enough() -> dict[str, str] | None:
        said = signals.taken(hands.desk, hands.account, token)
        for unique_id, signal in said.items():
            if signal["Status"] != "SUCCESS":
                why = signal.get("Reason", "")
                raise Fault("NotStabilized", f"WaitCondition received failed message: '{why}' for uniqueId: {unique_id}")
        return {id: str(signal.get("Data", "")) for id, signal in said.items()} if len(said) >= count else None

    try:
        data = await hands.until(enough, patience_s=timeout_s, what="signals") if count else {}
    except Fault as fault:
        got = len(signals.taken(hands.desk, hands.account, token))
        if not handle:  # the next one of this name must not find them
            await signals.forget(hands.desk, hands.account, token)
        if not fault.message.startswith("Exceeded"):
            raise
        raise Fault("NotStabilized", f"WaitCondition timed out. Received {got} conditions when expecting {count}") from None
    if not handle:
        await signals.forget(hands.desk, hands.account, token)
    return Made(f"{asked.stack_id}/{asked.logical_id}", {"Data": json.dumps(data)})


def _duration_s(text: str) -> int:
    """Seconds of an ISO 8601 duration such as PT1H30M. Raises Fault."""
    rest, total, digits = text.removeprefix("PT"), 0, ""
    for letter in rest:
        if letter.isdigit():
            digits += letter
        elif digits and letter in _UNITS:
            total, digits = total + int(digits) * _UNITS[letter], ""
        else:
            break
    else:
        if not digits and text.startswith("PT") and rest:
            return total
    raise Fault("ValidationError", f"Timeout must be an ISO 8601 duration such as PT15M, not {text!r}")


async def delete(hands: Hands, kept: Kept) -> None:
    """There is nothing but the record."""


async def read_handle(hands: Hands, kept: Kept) -> Properties:
    return {}


TYPES = (
    ResourceType("AWS::CloudFormation::WaitConditionHandle", create_handle, update_handle, delete_handle, read_handle),
    ResourceType("AWS::CloudFormation::WaitCondition", create, None, delete, replaces=lambda before, after: frozenset(("Handle",))),
)
