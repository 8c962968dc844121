"""A resource of a stack carried through its life by hand: what a test asks of a type, and hands that fail where they are told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, ResourceType

STACK = "arn:aws:cloudformation:eu-west-1:123456789012:stack/genomics/51af3dc0-da77-11e4-872e-1234567db123"
SYSTEM_TAGS = {
    "aws:cloudformation:stack-name": "genomics",
    "aws:cloudformation:stack-id": STACK,
    "aws:cloudformation:logical-id": "Thing",
}


class FailingHands:
    """Hands whose call number `at` (from 1) is refused, unless it only reads; the calls that were made, with their parameters."""

    partition = "aws"

    def __init__(self, hands: Any, at: int = 0) -> None:
        self.inner, self.at, self.count = hands, at, 0
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.account, self.region, self.desk = hands.account, hands.region, hands.desk

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if not operation.startswith(("Get", "List", "Describe")):
            self.count += 1
            self.calls.append((operation, params or {}))
            if self.count == self.at:
                raise Fault("Injected", f"{operation} was refused.")
        answer: dict[str, Any] = await self.inner.call(service, operation, params)
        return answer

    async def until(self, done: Callable[[], Awaitable[Any]], *, patience_s: float, what: str) -> Any:
        return await self.inner.until(done, patience_s=patience_s, what=what)


class Life:
    """A resource from its making to its end."""

    def __init__(self, hands: Hands, type: ResourceType, logical_id: str = "Thing") -> None:
        self.hands, self.type, self.logical_id = hands, type, logical_id
        self.kept: Kept | None = None
        self.is_undoing = False

    def asked(self, properties: dict[str, Any], tags: Mapping[str, str] | None = None) -> Asked:
        system = SYSTEM_TAGS if self.type.has_stack_tags else {}
        name = f"genomics-{self.logical_id}-1A2B3C4D5E6F"
        if self.type.named is not None and self.type.named.is_lower:
            name = name.lower()
        return Asked(
            STACK, "genomics", self.logical_id, self.type.name, properties, tags or {}, system, name, "0" * 32, is_undoing=self.is_undoing
        )

    def keep(self, made: Made, properties: dict[str, Any], tags: Mapping[str, str] | None) -> Made:
        place = (STACK, "genomics", self.logical_id, self.type.name)
        self.kept = Kept(*place, made.physical_id, properties, made.attributes, tags or {})
        return made

    async def create(self, tags: Mapping[str, str] | None = None, **properties: Any) -> Made:
        return self.keep(await self.type.create(self.hands, self.asked(properties, tags)), properties, tags)

    async def update(self, tags: Mapping[str, str] | None = None, **properties: Any) -> Made:
        assert self.kept is not None and self.type.update is not None
        return self.keep(await self.type.update(self.hands, self.asked(properties, tags), self.kept), properties, tags)

    async def fail_to_update(self, at: int, tags: Mapping[str, str] | None = None, **properties: Any) -> None:
        """An update whose call number `at` is refused. As in a stack, what was wanted counts as what it is made of."""
        assert self.kept is not None
        hands, self.hands = self.hands, FailingHands(self.hands, at)  # type: ignore[assignment]
        attributes = self.kept.attributes
        try:
            await self.update(tags, **properties)
        except Fault as fault:
            assert "was refused" in fault.message
            self.keep(Made(self.kept.physical_id, attributes), properties, tags)
        else:
            raise AssertionError(f"there was no call number {at}")
        finally:
            self.hands = hands

    async def read(self) -> dict[str, Any] | None:
        assert self.kept is not None and self.type.read is not None
        return await self.type.read(self.hands, self.kept)

    async def delete(self) -> None:
        assert self.kept is not None
        await self.type.delete(self.hands, self.kept)
