"""What the acts of resource types share: calls that are taken back when a later one is refused, tags, documents, and refusals by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Properties

_GONE = frozenset(("NoSuchEntity", "Gateway.NotAttached", "NotFoundException", "InvalidResourceId"))


def is_gone(fault: Fault) -> bool:
    """Whether a refusal says that what was named is not there (any more)."""
    return fault.code in _GONE or "NotFound" in fault.code or fault.code.endswith(".Unknown")


class Steps:
    """The calls of one act to one service. When a Fault leaves the block, what was done is taken back, the last first.

    Calls must follow from the properties and from answers alone, since a repeated act is to make the same ones.
    """

    def __init__(self, hands: Hands, service: str) -> None:
        self.hands, self._service = hands, service
        self._undo: list[tuple[str, str, Mapping[str, Any]]] = []

    async def __aenter__(self) -> Steps:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, Fault):
            return  # whoever was interrupted goes on later, by the same calls
        left = []
        for service, operation, params in reversed(self._undo):
            try:
                await self.hands.call(service, operation, params)
            except Fault as fault:
                if not is_gone(fault):
                    left.append(f"{operation}: {fault.message}")
        if left:
            raise Fault(error.code, f"{error.message} What was done before could not be taken back: {' '.join(left)}", **error.fields)

    async def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of an operation."""
        return await self.hands.call(self._service, operation, params)

    def undo(self, operation: str, params: Mapping[str, Any], *, service: str = "") -> None:
        """What takes back the call that was just answered."""
        self._undo.append((service or self._service, operation, params))

    async def call_if_there(self, operation: str, params: Mapping[str, Any]) -> bool:
        """Call what takes something away; whether it was there."""
        return await call_if_there(self.hands, self._service, operation, params)

    async def call_unless(self, code: str, operation: str, params: Mapping[str, Any]) -> bool:
        """Call what adds something, which the refusal `code` says is there already; whether it was added.

        An update that takes back another one, which itself had failed, finds some things as they are to be.
        """
        try:
            await self.call(operation, params)
        except Fault as fault:
            if fault.code != code:
                raise
            return False
        return True


async def answer_if_there(hands: Hands, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a call answers; None when what it names is not there."""
    try:
        return await hands.call(service, operation, params)
    except Fault as fault:
        if is_gone(fault):
            return None
        raise


async def call_if_there(hands: Hands, service: str, operation: str, params: Mapping[str, Any]) -> bool:
    """Call what takes something away; whether it was there."""
    return await answer_if_there(hands, service, operation, params) is not None


def refused(type_name: str, property: str, why: str = "") -> Fault:
    """The answer to a property that this version cannot act on."""
    reason = f" ({why})" if why else ""
    return Fault(
        "InvalidRequest", f"Property {property} of {type_name} is not available in this version of Batchyard{reason}: leave it out."
    )


def require_known(asked: Asked, known: Collection[str], refusals: Mapping[str, str] | None = None) -> None:
    """Refuse every property that the handler does not act on, unless its value is nothing or false."""
    for name, value in asked.properties.items():
        if name not in known and value not in (None, False, "", [], {}):
            raise refused(asked.type, name, (refusals or {}).get(name, ""))


def changed(before: Properties, after: Properties, *names: str) -> bool:
    """Whether one of the properties `names` is another one now."""
    return any(before.get(name) != after.get(name) for name in names)


def given(properties: Properties, *names: str) -> Properties:
    """Those of the properties `names` that have a value."""
    return {name: properties[name] for name in names if properties.get(name) is not None}


def document_text(value: Any) -> str:
    """A policy document as services take it: a text stays as it is, anything else becomes JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def document_of(text: str) -> Any:
    """A policy document as templates have it; a text that is no JSON stays one."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- tags ---


def tags_of(resource: Asked | Kept) -> dict[str, str]:
    """The stack's tags with the resource's own over them."""
    own = resource.properties.get("Tags") or {}
    pairs = own.items() if isinstance(own, Mapping) else [(tag["Key"], tag.get("Value", "")) for tag in own]
    for key, _ in pairs:
        if key.lower().startswith("aws:"):
            raise Fault("InvalidRequest", f"Tags: keys that begin with aws: are reserved: {key}")
    return {**resource.tags, **{key: str(value) for key, value in pairs}}


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as a list of Key and Value."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def own_tags(tags: Sequence[Mapping[str, str]], kept: Kept) -> list[dict[str, str]]:
    """Of tags that were found, those that a template could have: not CloudFormation's, nor the stack's unless the resource names them."""
    own = kept.properties.get("Tags") or []
    named = set(own) if isinstance(own, Mapping) else {tag["Key"] for tag in own}
    return [
        {"Key": tag["Key"], "Value": tag.get("Value", "")}
        for tag in tags
        if not tag["Key"].startswith("aws:") and (tag["Key"] in named or tag["Key"] not in kept.tags)
    ]


def tag_changes(asked: Asked, kept: Kept) -> tuple[dict[str, str], list[str]]:
    """(tags to put, keys to take away) of an update."""
    before, after = tags_of(kept), tags_of(asked)
    return {k: v for k, v in after.items() if before.get(k) != v}, [k for k in before if k not in after]


Call = tuple[str, Mapping[str, Any]]


async def change_tags(
    steps: Steps, asked: Asked, kept: Kept, *, put: Callable[[dict[str, str]], Call], take: Callable[[list[str]], Call]
) -> None:
    """The tags that differ: `put` and `take` give the call that puts tags and the one that takes keys away."""
    wanted, gone = tag_changes(asked, kept)
    before = tags_of(kept)
    if gone:
        await steps.call(*take(gone))
        steps.undo(*put({key: before[key] for key in gone}))
    if wanted:
        await steps.call(*put(wanted))
        if new := [key for key in wanted if key not in before]:
            steps.undo(*take(new))
        if old := {key: before[key] for key in wanted if key in before}:
            steps.undo(*put(old))
