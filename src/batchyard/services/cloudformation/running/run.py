"""One stack's operation on its way: it drives the phases, notes every step, and can be taken up again where a crash left it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.resources.inert import inert
from batchyard.services.cloudformation.resources.type import ResourceType
from batchyard.services.cloudformation.running import masking
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.lookups import Lookups
from batchyard.services.cloudformation.running.records import Actor, Failure, Physical, Resource, Stack
from batchyard.services.cloudformation.running.steps import StepFailed
from batchyard.services.cloudformation.running.target import Target

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 32
STACK_TYPE = "AWS::CloudFormation::Stack"


class Run:
    """The operation of one stack. `stack` and `resources` are what is on the shelf, but for what is being written."""

    def __init__(
        self, desk: Any, stack: Stack, resources: dict[str, Resource], target_of: Callable[[Stack, int], Awaitable[Target]]
    ) -> None:
        self.desk = desk
        self.stack = stack
        self.resources = resources
        self._target_of = target_of
        self._targets: dict[int, Target] = {}
        actor = stack.actor
        assert actor is not None
        self.place = place_of(actor.account, actor.region)
        self.lookups = Lookups(desk, actor.caller())

    def act_as(self, actor: Actor | None) -> None:
        """From here on the steps have the rights of `actor`."""
        if actor is not None:
            self.stack.actor, self.lookups = actor, Lookups(self.desk, actor.caller())

    # --- what phases ask ---

    async def target(self, number: int) -> Target:
        """The template of that number, with the parameters that the operation has for it."""
        if number not in self._targets:
            self._targets[number] = await self._target_of(self.stack, number)
        return self._targets[number]

    def type_of(self, physical: Physical) -> ResourceType:
        return type_of(physical)

    async def filled(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Properties with their dynamic references looked up."""
        return await self.lookups.filled(properties)

    def is_cancelled(self) -> bool:
        operation = self.stack.operation
        return operation is None or operation.failure is not None or self.is_late()

    def is_late(self) -> bool:
        operation = self.stack.operation
        return operation is not None and 0 < operation.deadline_ms < self.desk.now_ms()

    def late_words(self) -> str:
        """Why an operation turns back that is late."""
        verb = "creation" if self.stack.status.startswith("CREATE") else "update"
        return f"Stack {verb} time exceeded the specified timeout."

    # --- noting ---

    async def note(
        self,
        resource: Resource,
        *events: tuple[str, str],
        about: Physical | None = None,
        forget: str = "",
        gone: bool = False,
        fails: bool = False,
    ) -> None:
        """Write a resource with events (status, reason) about it; durable when it returns. With `gone` its record goes; with `fails` an
        operation that builds turns back for it: both are one transaction, or a crash between them would make a failure forgotten.
        `about` is what the events are about, where that is not what is made or what there is now."""
        if fails:
            self._failed(resource.logical_id)
        secrets = masking.secrets_of(self.stack, self.resources.values()) if events else []
        events = tuple((status, masking.without(reason, secrets)) for status, reason in events)
        now_ms = self.desk.now_ms()
        if events:
            resource.status, resource.reason = events[-1]
            resource.updated_ms = now_ms
        shown = about or (resource.doing.wanted if resource.doing is not None else resource.current)
        physical_id = (shown.physical_id if shown else "") or resource.physical_id
        text = ""
        if shown is not None and events:
            text = json.dumps(masking.properties_shown(resource.logical_id, shown, self.stack, self._targets.values(), secrets))
        told = [
            self._event(resource.logical_id, physical_id if status != "CREATE_IN_PROGRESS" or reason else "", resource.type, status, reason)
            | ({"ResourceProperties": text} if text else {})
            for status, reason in events
        ]

        def change(book: StackBook) -> None:
            if gone:
                book.delete_resource(self.stack.id, resource.logical_id)
            else:
                book.put_resource(self.stack.id, resource)
            for event in told:
                book.add_event(self.stack, event)
            if told:
                book.put_stack(self.stack)
            if forget:
                book.forget_step(forget)

        await self.change(change)

    async def turn(self, status: str, reason: str = "", also: Callable[[StackBook], None] | None = None) -> None:
        """The stack's new status, with its event; `also` in the same transaction."""
        now_ms = self.desk.now_ms()
        reason = masking.without(reason, masking.secrets_of(self.stack, self.resources.values()))
        self.stack.status, self.stack.reason = status, reason
        if status.endswith("_IN_PROGRESS") and not status.startswith(("CREATE_", "REVIEW_")):
            self.stack.updated_ms = now_ms
        if status == "DELETE_COMPLETE":
            self.stack.deleted_ms = now_ms

        def change(book: StackBook) -> None:
            book.add_event(self.stack, self._event(self.stack.name, self.stack.arn, STACK_TYPE, status, reason))
            if also is not None:
                also(book)
            book.put_stack(self.stack)

        await self.change(change)

    async def save(self) -> None:
        """The stack's record as it is."""
        await self.change(lambda book: book.put_stack(self.stack))

    async def change(self, change: Callable[[StackBook], Any]) -> Any:
        """One transaction on the stack's records, durable when it returns. Not part of a step: it is made again when it must be."""
        return await self.desk.stacks.change(self.place, change)

    def _event(self, logical_id: str, physical_id: str, type_name: str, status: str, reason: str) -> dict[str, Any]:
        operation = self.stack.operation
        event = {
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": physical_id,
            "ResourceType": type_name,
            "ResourceStatus": status,
            "TimestampMs": self.desk.now_ms(),
        }
        if reason:
            event["ResourceStatusReason"] = reason
        if operation is not None and operation.client_token:
            event["ClientRequestToken"] = operation.client_token
        return event

    # --- doing things side by side ---

    async def each(self, ready: Callable[[], Iterable[str]], act: Callable[[str], Awaitable[None]]) -> list[str]:
        """Acts on whatever `ready` names, side by side, each name once, until nothing is ready and nothing is under way.

        The names that failed, in the order in which they did.
        """
        tried: set[str] = set()
        failed: list[str] = []
        under_way: dict[asyncio.Task[None], str] = {}
        try:
            while True:
                for name in ready():
                    if name not in tried and len(under_way) < SIDE_BY_SIDE:
                        tried.add(name)
                        under_way[asyncio.create_task(_awaited(act(name)))] = name
                if not under_way:
                    return failed
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    name = under_way.pop(task)
                    try:
                        task.result()
                    except StepFailed:
                        failed.append(name)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)  # what is repeated must not go on beside its repetition

    async def fail(self, reason: str) -> None:
        """Note that the operation turns back, for a reason that is none of its resources."""
        operation = self.stack.operation
        assert operation is not None
        operation.failure = operation.failure or Failure()
        operation.failure.reason = operation.failure.reason or reason
        await self.save()

    def _failed(self, logical_id: str) -> None:
        operation = self.stack.operation
        if operation is not None and operation.phase == "build":
            operation.failure = operation.failure or Failure([], self.late_words() if self.is_late() else "")
            operation.failure.resources = [*operation.failure.resources, logical_id]


async def _awaited(act: Awaitable[None]) -> None:
    await act


def type_of(physical: Physical) -> ResourceType:
    """The type of what is there, or wanted."""
    return inert(physical.type) if physical.is_inert else known_type(physical.type)


def known_type(name: str) -> ResourceType:
    """A resource type by name; custom ones share one. Raises the Fault of an unknown one."""
    found = types().get("AWS::CloudFormation::CustomResource" if name.startswith("Custom::") else name)
    if found is None:
        raise Fault("ValidationError", f"Template format error: Unrecognized resource types: [{name}]")
    return found
