"""The quick way into the house: a model's shapes as types that msgspec decodes and checks in one pass of C.

A SubmitJob of 900 bytes takes 2 µs this way. It says only yes or no; `validation` finds the words for a no.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Required, TypedDict

import msgspec

from batchyard.wire.servicemodel import ServiceModel, Shape
from batchyard.wire.timestamps import FIRST_S, LAST_S
from batchyard.wire.validation import LIMITS, java_pattern

_SCALARS: dict[str, Any] = {
    "string": str,
    "character": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "timestamp": float,
    "blob": bytes,
}


class JsonTypes:
    """Types of one service, each made at its first use. A shape that holds itself stays `Any` at the inner place."""

    def __init__(self, model: ServiceModel) -> None:
        self.model = model
        self._known: dict[str, Any] = {}
        self._open: set[str] = set()
        self.is_partial = False

    def body_type(self, operation: str) -> tuple[Any, bool]:
        """The type of what `operation`'s JSON body must be, and whether a value that passes still needs a full check."""
        self.is_partial = False
        shape = self.model.input_shape(operation)
        if shape.payload is not None:
            return self._named(shape.members[shape.payload].shape), True
        return self._structure(operation + "Body", shape), self.is_partial

    def _named(self, name: str) -> Any:
        known = self._known.get(name)
        if known is not None:
            return known
        if name in self._open:
            self.is_partial = True
            return Any
        self._open.add(name)
        made = self._made(name, self.model.shapes[name])
        self._open.discard(name)
        if not self.is_partial:
            self._known[name] = made
        return made

    def _made(self, name: str, shape: Shape) -> Any:
        if shape.document:
            return Any
        if shape.type == "structure":
            return self._structure(name, shape)
        if shape.type == "list":
            assert shape.member is not None
            return _bounded(list.__class_getitem__(self._named(shape.member.shape)), _length(shape))
        if shape.type == "map":
            assert shape.key is not None
            assert shape.value is not None
            entries = dict.__class_getitem__((self._named(shape.key.shape), self._named(shape.value.shape)))
            return _bounded(entries, _length(shape))
        return _bounded(_SCALARS[shape.type], _bounds(shape))

    def _structure(self, name: str, shape: Shape) -> Any:
        members = {
            key: Required[self._named(member.shape)] if key in shape.required else self._named(member.shape)
            for key, member in shape.members.items()
            if member.location is None
        }
        return TypedDict(name, members, total=False)  # type: ignore[operator]


def _bounded(kind: Any, bounds: dict[str, Any]) -> Any:
    return Annotated[kind, msgspec.Meta(**bounds)] if bounds else kind


def _length(shape: Shape) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if shape.min:
        bounds["min_length"] = math.ceil(shape.min)
    if shape.max is not None:
        bounds["max_length"] = math.floor(shape.max)
    return bounds


def _bounds(shape: Shape) -> dict[str, Any]:
    if shape.type in ("string", "character", "blob"):
        bounds = _length(shape)
        pattern = java_pattern(shape.pattern) if shape.pattern is not None and shape.type != "blob" else None
        if pattern is not None:
            bounds["pattern"] = pattern
        return bounds
    if shape.type in LIMITS:
        low, high = LIMITS[shape.type]
        return {
            "ge": low if shape.min is None else max(low, math.ceil(shape.min)),
            "le": high if shape.max is None else min(high, math.floor(shape.max)),
        }
    if shape.type == "timestamp":
        return {"ge": FIRST_S, "le": LAST_S}
    if shape.type in ("float", "double"):
        return {key: bound for key, bound in (("ge", shape.min), ("le", shape.max)) if bound is not None}
    return {}
