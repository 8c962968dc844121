"""The records of stacks on the shelf, as one transaction or snapshot sees them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running.records import Resource, Stack
from batchyard.services.repeating import forget
from batchyard.store.shelf import Document, Drawer, Place

STACK, NAME, RESOURCE, EVENT, TEMPLATE, EXPORT, IMPORT, CHANGE_SET = (
    "stack",
    "name",
    "resource",
    "event",
    "template",
    "export",
    "import",
    "change-set",
)
SERVICE = "cloudformation"
UNTOLD = "untold"  # stack id -> which of its events are still to be told
NOTIFIED, URL = Place("cloudformation-notified", "", ""), "url"  # the URLs that NotificationARNs have named


class Sealing(Protocol):
    def seal(self, text: bytes, context: str) -> bytes: ...
    def open(self, sealed: bytes, context: str) -> bytes: ...


def place_of(account: str, region: str) -> Place:
    """Where an account's stacks in a region stand."""
    return Place(SERVICE, account, region)


def no_such_stack(name: str) -> Fault:
    """AWS's words, which clients match."""
    return Fault("ValidationError", f"Stack with id {name} does not exist")


class StackBook:
    """Stacks by name or id, with their resources, events and templates."""

    def __init__(self, drawer: Drawer, sealer: Sealing) -> None:
        self.drawer = drawer
        self._sealer = sealer

    # --- stacks ---

    def find(self, name_or_arn: str) -> Stack | None:
        """A stack by name (the one that is not deleted), or by ARN: the whole of it, for that is what policies have allowed."""
        if name_or_arn.startswith("arn:"):
            found = self.stack(name_or_arn.rpartition("/")[2])
            return found if found is not None and found.arn == name_or_arn else None
        named = self.drawer.get(NAME, name_or_arn)
        return self.stack(named["id"]) if named else None

    def require(self, name_or_arn: str) -> Stack:
        """A stack, or AWS's refusal."""
        found = self.find(name_or_arn)
        if found is None:
            raise no_such_stack(name_or_arn)
        return found

    def stack(self, id: str) -> Stack | None:
        kept = self.drawer.get(STACK, id)
        return self._opened(kept, f"stack {id}", Stack) if kept else None

    def stacks(self) -> list[Stack]:
        """All stacks, also deleted ones."""
        return [self._opened(kept, f"stack {id}", Stack) for id, kept in self.drawer.entries(STACK)]

    def put_stack(self, stack: Stack) -> None:
        self.drawer.put(STACK, stack.id, self._sealed(stack, f"stack {stack.id}"))
        if stack.status == "DELETE_COMPLETE":
            named = self.drawer.get(NAME, stack.name)
            if named and named["id"] == stack.id:
                self.drawer.delete(NAME, stack.name)
        else:
            self.drawer.put(NAME, stack.name, {"id": stack.id})
        notified = self.drawer.elsewhere(NOTIFIED)
        for url in stack.notification_arns:
            if notified.get(URL, url) is None:
                notified.put(URL, url, {})

    # --- resources ---

    def resources(self, stack_id: str) -> dict[str, Resource]:
        """Logical id -> resource."""
        entries = self.drawer.entries(RESOURCE, prefix=f"{stack_id}/")
        found = [self._opened(kept, f"resource {name}", Resource) for name, kept in entries]
        return {resource.logical_id: resource for resource in found}

    def put_resource(self, stack_id: str, resource: Resource) -> None:
        name = f"{stack_id}/{resource.logical_id}"
        self.drawer.put(RESOURCE, name, self._sealed(resource, f"resource {name}"))

    def delete_resource(self, stack_id: str, logical_id: str) -> None:
        self.drawer.delete(RESOURCE, f"{stack_id}/{logical_id}")

    # --- events ---

    def add_event(self, stack: Stack, event: Document) -> None:
        """The next event, to be told; counts on the stack's record being written in the same transaction.

        No two of a stack bear the same time: clients (CDK) put them in order by it.
        """
        stack.events += 1
        stack.last_event_ms = max(event["TimestampMs"], stack.last_event_ms + 1)
        event = {**event, "TimestampMs": stack.last_event_ms}
        self.drawer.put(EVENT, f"{stack.id}/{stack.events:08d}", event)
        note = self.drawer.get(UNTOLD, stack.id) or {"after": stack.events - 1}
        self.drawer.put(UNTOLD, stack.id, {**note, "last": stack.events})

    def events_below(self, stack_id: str, number: int, count: int) -> list[tuple[int, Document]]:
        """(number, event) of the newest `count` numbers below `number`, the newest first: a page of many without reading the others."""
        lowest = max(number - count, 1)
        found = self.drawer.entries(EVENT, prefix=f"{stack_id}/", after=f"{stack_id}/{lowest - 1:08d}", limit=count)
        numbered = [(int(name.rpartition("/")[2]), event) for name, event in reversed(found)]
        return [(n, event) for n, event in numbered if n < number]

    def events(self, stack_id: str) -> list[Document]:
        """The newest first."""
        return [event for _, event in reversed(self.drawer.entries(EVENT, prefix=f"{stack_id}/"))]

    # --- templates ---

    def template(self, stack_id: str, number: int) -> str:
        kept = self.drawer.get(TEMPLATE, f"{stack_id}/{number:06d}")
        return str(kept["text"]) if kept else ""

    def put_template(self, stack_id: str, number: int, text: str) -> None:
        self.drawer.put(TEMPLATE, f"{stack_id}/{number:06d}", {"text": text})

    def outputs(self) -> dict[str, dict[str, str]]:
        """Name and ARN of each stack -> its outputs, for Fn::GetStackOutput."""
        found: dict[str, dict[str, str]] = {}
        for stack in self.stacks():
            if stack.status != "DELETE_COMPLETE":
                found[stack.name] = found[stack.arn] = {output["OutputKey"]: output["OutputValue"] for output in stack.outputs}
        return found

    # --- exports ---

    def exports(self) -> dict[str, Document]:
        """Name -> {"value", "stack" (ARN)}."""
        return dict(self.drawer.entries(EXPORT))

    def importers(self, export: str) -> list[str]:
        """Ids of the stacks that import it."""
        return [
            name.rpartition("/")[2]
            for name, _ in self.drawer.entries(IMPORT, prefix=f"{export}/")
            if name.count("/") == export.count("/") + 1
        ]

    def set_exports(self, stack: Stack, wanted: dict[str, str]) -> None:
        """Make `wanted` (name -> value) the exports of a stack. Raises AWS's refusals."""
        kept = self.exports()
        mine = {name for name, export in kept.items() if export["stack"] == stack.arn}
        for name, value in wanted.items():
            if name in kept and name not in mine:
                raise Fault("ValidationError", f"Export with name {name} is already exported by stack {_name_in(kept[name]['stack'])}")
            if name in mine and kept[name]["value"] != value:
                self.refuse_if_imported(name, "updated", stack.id)
            self.drawer.put(EXPORT, name, {"value": value, "stack": stack.arn})
        for name in mine - wanted.keys():
            self.refuse_if_imported(name, "deleted", stack.id)
            self.drawer.delete(EXPORT, name)

    def refuse_if_imported(self, export: str, verb: str, by_others_than: str = "") -> None:
        """Raises Fault when another stack imports it."""
        users = [id for id in self.importers(export) if id != by_others_than]
        if users:
            names = sorted(stack.name for stack in map(self.stack, users) if stack is not None)
            raise Fault("ValidationError", f"Export {export} cannot be {verb} as it is in use by {', '.join(names)}")

    def refuse_if_gone(self, stack: Stack, used: dict[str, str]) -> None:
        """Raises Fault when an export of another stack that `stack` was built with (name -> value) is not there any more, or another one:
        until the import is noted nothing keeps it."""
        kept = self.exports()
        for name, value in sorted(used.items()):
            if name not in kept:
                raise Fault("ValidationError", f"No export named {name} found")
            if kept[name]["value"] != value and kept[name]["stack"] != stack.arn:
                raise Fault("ValidationError", f"Export {name} was updated while this stack was built with it")

    def set_imports(self, stack_id: str, names: set[str]) -> None:
        """Note which exports a stack imports."""
        for name, _ in self.drawer.entries(IMPORT):
            if name.endswith(f"/{stack_id}") and name.rpartition("/")[0] not in names:
                self.drawer.delete(IMPORT, name)
        for name in names:
            self.drawer.put(IMPORT, f"{name}/{stack_id}", {})

    def forget_step(self, token: str) -> None:
        """What kept a step from acting twice is not needed any more."""
        forget(self.drawer, token)

    # --- sealing ---

    def _sealed(self, record: Any, context: str) -> Document:
        return {"sealed": self._sealer.seal(msgspec.msgpack.encode(record), context)}

    def _opened(self, kept: Document, context: str, type: Any) -> Any:
        return msgspec.msgpack.decode(self._sealer.open(kept["sealed"], context), type=type)


def _name_in(arn: str) -> str:
    return arn.split("/")[1] if "/" in arn else arn
