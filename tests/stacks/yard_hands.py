"""Hands over a real service on the wire, for tests of what becomes of a resource there; a step may be tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Asked, Kept, Made, ResourceType
from batchyard.services.repeating import Step, current_step
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf
from yard import Yard


class YardHands:
    """Calls go over the wire with boto3; what a step notes goes to a shelf of the test."""

    partition = "aws"

    def __init__(self, yard: Yard, folder: Path) -> None:
        self.yard = yard
        self.shelf, self.sealer = Shelf(folder / "shelf.db"), Sealer(folder / "shelf.key")
        self.desk: Any = SimpleNamespace(shelf=self.shelf, sealer=self.sealer)
        self.calls: list[str] = []
        self.account = yard.client("sts").get_caller_identity()["Account"]
        self.region = yard.endpoint["region"]

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.calls.append(operation)
        act = getattr(self.yard.client(service), xform_name(operation))
        try:
            answer: dict[str, Any] = await asyncio.to_thread(act, **(params or {}))
        except ClientError as refused:
            raise Fault(refused.response["Error"]["Code"], refused.response["Error"]["Message"]) from refused
        answer.pop("ResponseMetadata", None)
        return answer

    async def until(self, done: Callable[[], Awaitable[Any]], *, patience_s: float, what: str) -> Any:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            value = await done()
            if value:
                return value
            await asyncio.sleep(0.05)
        raise Fault("NotStabilized", f"waited {patience_s} s for {what}")

    @contextmanager
    def step(self, token: str) -> Iterator[None]:
        """What is done inside is one step, each time that it is entered with the same token."""
        before = current_step.set(Step(token, self.account, self.sealer))
        try:
            yield
        finally:
            current_step.reset(before)

    def close(self) -> None:
        self.shelf.close()


def wanted(type: ResourceType, properties: Mapping[str, Any], *, name: str = "stack-Thing-ABC", **more: Any) -> Asked:
    """A resource as a stack asks for it."""
    return Asked("arn:stack", "stack", "Thing", type.name, dict(properties), name=name, token="5" * 32, **more)


def standing(asked: Asked, made: Made) -> Kept:
    """The resource as it stands after `made`."""
    return Kept(
        asked.stack_id,
        asked.stack_name,
        asked.logical_id,
        asked.type,
        made.physical_id,
        asked.properties,
        made.attributes,
        asked.tags,
        asked.token,
    )
