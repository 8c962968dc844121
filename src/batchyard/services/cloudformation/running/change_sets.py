"""Change sets as they are remembered: a prepared template, and what it would change."""

from __future__ import annotations

from typing import Any

import msgspec

from batchyard.services.cloudformation.running.book import CHANGE_SET, Sealing
from batchyard.store.shelf import Drawer


class ChangeSet(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A change set. `changes` and `changes_in_full` are as DescribeChangeSet shows them, without and with values."""

    name: str
    arn: str
    stack_id: str
    stack_name: str
    stack_arn: str
    type: str  # CREATE, UPDATE
    status: str
    reason: str = ""
    execution: str = "UNAVAILABLE"
    created_ms: int = 0
    description: str = ""
    text: str = ""
    given: dict[str, str] = {}
    parameters: dict[str, str] = {}
    looked_up: dict[str, str] = {}
    hidden: list[str] = []
    tags: dict[str, str] = {}
    capabilities: list[str] = []
    notification_arns: list[str] = []
    role_arn: str = ""
    on_failure: str = ""
    changes: list[dict[str, Any]] = []
    changes_in_full: list[dict[str, Any]] = []
    stack_templates: int = 0  # of the stack, when it was made: it is out of date once there are more
    client_token: str = ""
    includes_nested: bool = False
    imports_existing: bool = False


class ChangeSetBook:
    """Change sets of stacks, as one transaction or snapshot sees them."""

    def __init__(self, drawer: Drawer, sealer: Sealing) -> None:
        self._drawer = drawer
        self._sealer = sealer

    def of_stack(self, stack_id: str) -> list[ChangeSet]:
        return [self._opened(name, kept) for name, kept in self._drawer.entries(CHANGE_SET, prefix=f"{stack_id}/")]

    def find(self, stack_id: str, name: str) -> ChangeSet | None:
        key = f"{stack_id}/{name}"
        kept = self._drawer.get(CHANGE_SET, key)
        return self._opened(key, kept) if kept else None

    def by_arn(self, arn: str) -> ChangeSet | None:
        """A change set by its ARN alone."""
        return next((found for key, kept in self._drawer.entries(CHANGE_SET) if (found := self._opened(key, kept)).arn == arn), None)

    def put(self, made: ChangeSet) -> None:
        key = f"{made.stack_id}/{made.name}"
        self._drawer.put(CHANGE_SET, key, {"sealed": self._sealer.seal(msgspec.msgpack.encode(made), f"change set {key}")})

    def delete(self, made: ChangeSet) -> None:
        self._drawer.delete(CHANGE_SET, f"{made.stack_id}/{made.name}")

    def _opened(self, key: str, kept: dict[str, Any]) -> ChangeSet:
        return msgspec.msgpack.decode(self._sealer.open(kept["sealed"], f"change set {key}"), type=ChangeSet)
