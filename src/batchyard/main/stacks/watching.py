"""What goes on in a stack, event by event, those of nested stacks among them; and what they make of the tree of resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from batchyard.main.client import Trouble, Unreachable
from batchyard.main.stacks.account import Account
from batchyard.main.stacks.packaging import NESTED

Event = dict[str, Any]
PATIENCE_S = 120.0  # a service that is started again is waited for


def is_over(status: str) -> bool:
    """Whether a stack in this status is at rest."""
    return not status.endswith("IN_PROGRESS")


@dataclass(slots=True)
class Feed:
    """The events of a stack and of its nested stacks from a moment on, oldest first. `stack_arn` is an ARN: names end with their stacks."""

    account: Account
    stack_arn: str
    _last: dict[str, str] = field(default_factory=dict)  # stack -> the newest event that was seen
    _begun_at: Any = None  # events of nested stacks from before are of another operation
    _has_nested: bool = False

    def skip(self) -> None:
        """Leave out what has been so far."""
        newest = next(self._newest_first(self.stack_arn), None)
        if newest is not None:
            self._last[self.stack_arn] = newest["EventId"]

    def new(self) -> list[Event]:
        """What has come since."""
        found = self._of(self.stack_arn)
        if found and self._begun_at is None:
            self._begun_at = found[0]["Timestamp"]
        looked: set[str] = set()
        while True:
            self._has_nested = self._has_nested or any(each.get("ResourceType") == NESTED and not is_own(each) for each in found)
            named = {each["PhysicalResourceId"] for each in found if _names_nested(each)}
            nested = {*self._last, *named, *self._unnamed()} - looked - {self.stack_arn}
            if not nested:
                break
            looked |= nested
            for stack in sorted(nested):
                found += [each for each in self._of(stack) if self._begun_at is None or each["Timestamp"] >= self._begun_at]
        return sorted(found, key=lambda each: each["Timestamp"])

    def _unnamed(self) -> set[str]:
        """Nested stacks that are being made: AWS's events name them at once, those of a service here when they are there."""
        if self.account.is_aws or not self._has_nested:
            return set()
        listed = self.account.pages("cloudformation", "list_stacks", "StackSummaries", StackStatusFilter=["CREATE_IN_PROGRESS"])
        return {each["StackId"] for each in listed if each.get("ParentId") in {self.stack_arn, *self._last}}

    def _of(self, stack: str) -> list[Event]:
        found: list[Event] = []
        last = self._last.get(stack)
        for event in self._newest_first(stack):
            if event["EventId"] == last:
                break
            found.append(event)
        if found:
            self._last[stack] = found[0]["EventId"]
        return found[::-1]

    def _newest_first(self, stack: str) -> Iterator[Event]:
        more: dict[str, Any] = {}
        while True:
            page = self.account.ask("cloudformation", "describe_stack_events", StackName=stack, **more)
            yield from page.get("StackEvents") or []
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}


def _names_nested(event: Event) -> bool:
    physical = event.get("PhysicalResourceId") or ""
    return event.get("ResourceType") == NESTED and str(physical).startswith("arn:") and physical != event["StackId"]


def is_own(event: Event) -> bool:
    """Whether an event is about the stack itself."""
    return event.get("ResourceType") == NESTED and event.get("PhysicalResourceId") == event["StackId"]


def until_rest(feed: Feed, show: Callable[[Iterable[Event]], None]) -> tuple[str, list[Event]]:
    """Show events as they come until the operation under way has ended: the stack's status then, and all that came."""
    seen: list[Event] = []
    answered_at = time.monotonic()
    while True:
        try:
            came = feed.new()
            answered_at = time.monotonic()
        except Trouble as trouble:
            if not _is_passing(trouble) or time.monotonic() - answered_at > PATIENCE_S:
                raise
            came = []
        seen += came
        show(came)
        for event in came:
            if is_own(event) and event["StackId"] == feed.stack_arn and is_over(event["ResourceStatus"]):
                return str(event["ResourceStatus"]), seen
        time.sleep(feed.account.look_s)


def _is_passing(trouble: Trouble) -> bool:
    return isinstance(trouble, Unreachable) or trouble.code in ("Throttling", "ThrottlingException", "ServiceUnavailable", "RequestTimeout")


def failures(events: Iterable[Event]) -> list[Event]:
    """What went wrong by itself, first things first: not what was only given up because something else had failed."""
    gone = ("Resource creation cancelled", "Resource update cancelled", "The following resource(s) failed to")
    return [
        event
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
        and not is_own(event)
        and not str(event.get("ResourceStatusReason", "")).startswith(gone)
    ]


@dataclass(slots=True)
class Node:
    """A resource in the tree: how it stands and since when; a nested stack has a tree of its own."""

    logical_id: str
    type: str
    status: str = ""
    reason: str = ""
    begun_at: float = 0.0  # seconds since the epoch
    ended_at: float = 0.0
    below: dict[str, Node] = field(default_factory=dict)
    above: Node | None = None
    stack_name: str = ""


class Tree:
    """A stack and its resources as the events so far have them."""

    def __init__(self, name: str, stack_arn: str) -> None:
        self.root = Node(name, NESTED, stack_name=name)
        self._stacks = {stack_arn: self.root}

    def expect(self, changes: Iterable[dict[str, Any]]) -> None:
        """Put resources of a change set in, of which nothing is known yet."""
        for change in changes:
            node = self.root
            *above, logical_id = change["LogicalResourceId"].split("/")
            for each in above:
                node = node.below.setdefault(each, Node(each, NESTED))
            node.below.setdefault(logical_id, Node(logical_id, change.get("ResourceType", "")))

    def take(self, event: Event) -> str:
        """What an event says; the place of what it is about, as in "Network/Subnet", and "" for the stack itself."""
        node = self._node(event)
        at, status = event["Timestamp"].timestamp(), event["ResourceStatus"]
        if is_over(status):
            node.ended_at = at
        elif node.ended_at or not node.begun_at:
            node.begun_at, node.ended_at = at, 0.0
        node.status, node.reason = status, str(event.get("ResourceStatusReason") or "")
        return self._place(node)

    def _node(self, event: Event) -> Node:
        stack = self._stacks.get(event["StackId"]) or self._by_name(event)
        if is_own(event):
            return stack
        logical_id = event["LogicalResourceId"]
        node = stack.below.setdefault(logical_id, Node(logical_id, event.get("ResourceType", "")))
        node.above = stack
        if _names_nested(event):
            self._stacks.setdefault(event["PhysicalResourceId"], node)
            node.stack_name = event["PhysicalResourceId"].split("/")[1]
        return node

    def _by_name(self, event: Event) -> Node:
        """The nested stack that only its own name tells: it begins with the name of the stack above and the logical id."""
        for above in list(self._stacks.values()):
            for node in above.below.values():
                if node.type == NESTED and event["StackName"].startswith(f"{above.stack_name}-{node.logical_id}-"):
                    node.stack_name, node.above = event["StackName"], above
                    self._stacks[event["StackId"]] = node
                    return node
        return self.root

    def _place(self, node: Node) -> str:
        above = self._place(node.above) if node.above is not None else ""
        return "/".join(part for part in (above, node.logical_id if node is not self.root else "") if part)
