"""What docs/reference/stacks-types.md says of each resource type: read off the types themselves and the schemas, nothing by hand.

Which properties a type refuses is found by asking it: its `create` is begun with one property at a time, and a world behind it that ends
the act at its first call. What is refused by name before that is not there; what the Batch API refuses stands in that API's table.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, permutations
from typing import Any, NoReturn

from batchyard.model.fault import Fault
from batchyard.services.batch import fields_not_yet
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.resources.type import Asked, ResourceType
from batchyard.services.cloudformation.running.preparing import HARMLESS
from batchyard.services.cloudformation.schemas.attributes import attributes
from batchyard.services.cloudformation.schemas.reading import Schema, known, schema

_REF = re.compile(r"\bRef is (.+?)[.;](?=\s|$)")
_REFUSED = re.compile(r"Property (\w+) of \S+ is not available in this version of Batchyard(?: \((.*)\))?: leave it out\.")
_TRIED = 60  # values of one property at most
_SHOWN = 3  # values at most that are shown of a property of which few are taken
_OPEN = {
    "AWS::CloudFormation::CustomResource": "whatever its function answers as `Data`",
    "AWS::CloudFormation::Stack": "`Outputs.NAME`",
}

Table = Callable[[Iterable[str], Iterable[Iterable[str]]], str]


class Reached(Exception):
    """An act went past its checks."""


class _Nobody:
    """Hands that reach nothing."""

    account = region = partition = "x"
    cancelled = caller = None

    @property
    def desk(self) -> NoReturn:
        raise Reached

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        raise Reached

    async def until(self, done: Any, *, patience_s: float, what: str) -> Any:
        raise Reached


# --- what a type takes ---


def values(held: Schema, part: Mapping[str, Any], depth: int = 3) -> Iterator[Any]:
    """Some values that fit a part of a schema: every word where words are counted up, every member of an object by itself."""
    part = held.part(part)
    kind = part.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if "enum" in part:
        yield from part["enum"]
    elif kind in ("boolean", "integer", "number"):
        yield kind == "boolean" or 1
    elif kind == "array" and depth:
        yield from ([inner] for inner in values(held, part.get("items", {}), depth - 1))
    elif "properties" in part and depth:
        for name, inner in part["properties"].items():
            yield from ({name: value} for value in values(held, inner, depth - 1))
    else:
        yield {"x": "y"} if kind == "object" else "x"


def refusal(type: ResourceType, name: str, value: Any) -> str | None:
    """Why the type refuses a property with this value, "" without a reason; None if it does not."""
    asked = Asked("arn:x", "x", "X", type.name, {name: value}, name="x", token="0" * 32)
    with contextlib.suppress(Reached, AttributeError, KeyError, TypeError, ValueError):  # what else may be wrong comes after the check
        try:
            asyncio.run(_begun(type, asked))
        except Fault as fault:
            found = _REFUSED.match(fault.message)
            if found is not None and found[1] == name:
                return found[2] or ""
    return None


async def _begun(type: ResourceType, asked: Asked) -> None:
    await type.create(_Nobody(), asked)  # type: ignore[arg-type]


def settable(held: Schema) -> list[str]:
    """The properties that a template may give."""
    return sorted(name for name in held.properties if (name,) not in held.read_only)


def taken(type: ResourceType, held: Schema) -> tuple[list[str], list[str]]:
    """(served, refused) properties, as the page shows them."""
    served, refused = [], []
    for name in settable(held):
        tried = [(value, refusal(type, name, value)) for value in islice(values(held, held.properties[name]), _TRIED)]
        passed = [value for value, why in tried if why is None]
        reasons = [why for _, why in tried if why is not None]
        if not reasons:
            served.append(f"`{name}`")
            continue
        only = " or ".join(f"`{value if isinstance(value, str) else json.dumps(value)}`" for value in passed[:_SHOWN])
        why = f" ({reasons[0]})" if reasons[0] else ""
        refused.append(f"`{name}`{f' but for {only}' if passed else ''}{why}")
    refused += _refused_by_batch(type.name)
    return [name for name in served if not any(entry.startswith(f"{name} (") for entry in refused)], refused


def _refused_by_batch(type_name: str) -> Iterator[str]:
    if not type_name.startswith("AWS::Batch::"):
        return
    verb = "Register" if type_name.endswith("JobDefinition") else "Create"
    operation = verb + type_name.rpartition(":")[2]
    for path, why in sorted(fields_not_yet.FIELDS_NOT_YET.get(operation, {}).items()):
        yield f"`{_spelt(path)}` ({why})"
    for path, words in sorted(fields_not_yet.VALUES_NOT_YET.get(operation, {}).items()):
        for why in sorted(set(words.values())):
            yield f"`{_spelt(path)}` of {', '.join(f'`{word}`' for word, its in sorted(words.items()) if its == why)} ({why})"


def _spelt(path: str) -> str:
    return ".".join(step[:1].upper() + step[1:] for step in path.replace("[]", "").split("."))


# --- what it gives ---


def ref_of(type: ResourceType) -> str:
    """What Ref gives, in the words of its `create`. ValueError if those say nothing of it."""
    found = _REF.search(type.create.__doc__ or "")
    if found is None:
        raise ValueError(f"{type.name}: the docstring of its create says nothing of what Ref is")
    return found[1]


def replaced_by(type: ResourceType, held: Schema, refused: Iterable[str]) -> list[str]:
    """Properties whose change replaces it."""
    names = {".".join(pointer) for pointer in held.create_only}
    for name in settable(held) if type.replaces is not None else ():
        tried = [{}, *({name: value} for value in islice(values(held, held.properties[name]), 4))]
        if any(type.replaces(before, after) for before, after in permutations(tried, 2)):
            names.add(name)
    return [f"`{name}`" for name in sorted(names) if name.partition(".")[0] not in gone(refused)]


def gone(refused: Iterable[str]) -> set[str]:
    """The properties that are refused whatever their value is."""
    return {entry.split("`")[1] for entry in refused if " but for " not in entry and "` of " not in entry}


def asked_of(type_name: str, refused: Iterable[str]) -> list[str]:
    """What GetAtt gives, without what belongs to properties that are refused."""
    return [f"`{name}`" for name in sorted(attributes(type_name)) if name.partition(".")[0] not in gone(refused)]


def _or_none(entries: Iterable[str]) -> str:
    return ", ".join(entries) or "none"


def section(type: ResourceType) -> str:
    """All of one type."""
    held = schema(type.name)
    assert held is not None, type.name
    served, refused = taken(type, held)
    replacing = replaced_by(type, held, refused)
    paths = (f"`{'.'.join(pointer)}`" for pointer in sorted(held.conditional) if f"`{pointer[0]}`" in served)
    conditional = [path for path in paths if path not in replacing]
    lines = [
        f"### {type.name}\n",
        f"- Fn::GetAtt: {_OPEN.get(type.name) or _or_none(asked_of(type.name, refused))}",
        f"- acted on: {_or_none(served)}{', and any other' if held.content.get('additionalProperties') is True else ''}",
        *([f"- refused: {', '.join(refused)}"] if refused else []),
        f"- a change replaces it: {_or_none(replacing)}",
        *([f"- a change may replace it: {', '.join(conditional)}"] if conditional else []),
    ]
    return "\n".join(lines) + "\n"


# --- the page ---


def overview(table: Table) -> str:
    """A line for each type that is real here."""
    rows = []
    for name, type in sorted(types().items()):
        anchor = name.lower().replace(":", "")
        rows.append((f"[{name}](#{anchor})", ref_of(type), "yes" if type.read else "no", "yes" if type.has_stack_tags else "no"))
    return table(("type", "`Ref`", "checked for drift", "gets the stack's tags"), rows)


def sections() -> str:
    """Every type that is real here."""
    return "\n".join(section(type) for _, type in sorted(types().items()))


def absent(table: Table) -> str:
    """Types whose schema is known and which do nothing here, by service."""
    by_service: dict[str, list[str]] = {}
    for name in sorted(known() - set(types()) - HARMLESS):
        service, _, short = name.rpartition("::")
        by_service.setdefault(service, []).append(f"`{short}`")
    return table(("service", "types"), ((f"`{service}`", ", ".join(names)) for service, names in by_service.items()))
