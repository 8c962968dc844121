"""Checks values against a model's shapes, in the words that AWS uses when a value does not fit.

The quick way in is `jsontypes`, which only says yes or no. What it refuses comes here: nulls are dropped as AWS drops them, and
whatever else is wrong is named, all of it at once, with the path of the field and the bound it missed.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from batchyard.wire.servicemodel import ServiceModel, Shape
from batchyard.wire.timestamps import FIRST_S, LAST_S

MAX_DEPTH = 64
LIMITS = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
NOUNS = {
    "structure": "an object",
    "map": "an object",
    "list": "an array",
    "string": "a string",
    "character": "a string",
    "boolean": "true or false",
    "integer": "a whole number",
    "long": "a whole number",
    "float": "a number",
    "double": "a number",
    "timestamp": "a number of seconds since 1970 (of the years 1 to 9999)",
    "blob": "a base64 string",
}


@dataclass(slots=True)
class Problems:
    """What is wrong with a value: `misfits` are of the wrong type, `violations` miss a bound of the model."""

    misfits: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.misfits or self.violations)

    @property
    def message(self) -> str:
        """One sentence for people: the first misfit, else all violations as AWS lists them."""
        if self.misfits:
            return self.misfits[0]
        count = len(self.violations)
        return f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(self.violations)}"


@lru_cache(maxsize=1024)
def java_pattern(pattern: str) -> str | None:
    """A model's pattern as Python's `re` understands it, anchored at both ends as AWS matches it; None when it cannot be said.

    Java's classes of Unicode letters, digits and separators widen to Python's nearest: too wide is better than refusing what
    AWS accepts.
    """
    for java, python in _JAVA_TO_PYTHON:
        pattern = pattern.replace(java, python)
    if re.search(r"\\[pP]|[+*?}]\+", pattern):
        return None
    flags = re.match(r"\(\?([ims]+)\)", pattern)
    anchored = rf"\A(?{flags[1]}:{pattern[flags.end() :]})\Z" if flags else rf"\A(?:{pattern})\Z"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(anchored)
        except (re.error, Warning):
            return None
    return anchored


_JAVA_TO_PYTHON = (
    (r"\p{L}", r"\w"),
    (r"\p{N}", r"\d"),
    (r"\p{Z}", r"\s"),
    (r"\p{Alpha}", "A-Za-z"),
    (r"\z", r"\Z"),
    (r"\w-", r"\w\-"),
)


class Checker:
    """Walks values of one service. `numbers_as_text`: a number where a string belongs is taken as its text, as Batch does."""

    def __init__(self, model: ServiceModel, *, numbers_as_text: bool) -> None:
        self.model = model
        self.numbers_as_text = numbers_as_text

    def check(self, shape: Shape, value: Any, *, only_body: bool = False) -> tuple[Any, Problems]:
        """The value without nulls and with lenient conversions made, and what is wrong with it.

        With `only_body`, members that travel elsewhere are neither taken nor missed.
        """
        problems = Problems()
        if shape.type == "structure" and isinstance(value, dict):
            return self._structure(shape, value, "", problems, only_body), problems
        return self._value(shape, value, "", problems, 0), problems

    def check_member(self, shape: Shape, value: Any, path: str, problems: Problems) -> Any:
        """The same for one value that came in a path, query or header, its text already converted."""
        return self._value(shape, value, path, problems, 0)

    def _value(self, shape: Shape, value: Any, path: str, problems: Problems, depth: int) -> Any:
        if depth > MAX_DEPTH:
            problems.misfits.append(f"Value at '{path}' is nested too deeply")
            return value
        if shape.document:
            return value
        match shape.type:
            case "structure":
                if isinstance(value, dict):
                    return self._structure(shape, value, path, problems, False, depth)
            case "list":
                if isinstance(value, list):
                    return self._list(shape, value, path, problems, depth)
            case "map":
                if isinstance(value, dict):
                    return self._map(shape, value, path, problems, depth)
            case _:
                converted = self._scalar(shape.type, value)
                if converted is not None:
                    self._bounds(shape, converted, value, path, problems)
                    return converted
        problems.misfits.append(f"Value at '{path or 'the body'}' must be {NOUNS[shape.type]}, not {_noun_of(value)}")
        return value

    def _structure(
        self, shape: Shape, value: dict[str, Any], path: str, problems: Problems, only_body: bool, depth: int = 0
    ) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, member in shape.members.items():
            if only_body and member.location is not None:
                continue
            at = f"{path}.{name}" if path else name
            inner = value.get(name)
            if inner is not None:
                kept[name] = self._value(self.model.shapes[member.shape], inner, at, problems, depth + 1)
            elif name in shape.required:
                problems.violations.append(f"Value null at '{at}' failed to satisfy constraint: Member must not be null")
        return kept

    def _list(self, shape: Shape, value: list[Any], path: str, problems: Problems, depth: int) -> list[Any]:
        assert shape.member is not None
        item_shape = self.model.shapes[shape.member.shape]
        self._length(shape, len(value), value, path, problems)
        return [self._value(item_shape, item, f"{path}[{index}]", problems, depth + 1) for index, item in enumerate(value)]

    def _map(self, shape: Shape, value: dict[str, Any], path: str, problems: Problems, depth: int) -> dict[str, Any]:
        assert shape.key is not None
        assert shape.value is not None
        key_shape = self.model.shapes[shape.key.shape]
        item_shape = self.model.shapes[shape.value.shape]
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if item is None:
                continue
            self._bounds(key_shape, key, key, f"{path}.{_short(key)}", problems)
            kept[key] = self._value(item_shape, item, f"{path}.{_short(key)}", problems, depth + 1)
        if kept:  # an empty map says nothing: clients send `tags: {}`, and AWS takes it, whatever the model's minimum
            self._length(shape, len(kept), kept, path, problems)
        return kept

    def _scalar(self, kind: str, value: Any) -> Any:
        """The value as the model's type `kind`, or None when it is not one."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        match kind:
            case "string" | "character":
                if number and self.numbers_as_text:
                    return str(value)
                return value if isinstance(value, str) else None
            case "boolean":
                return value if isinstance(value, bool) else None
            case "integer" | "long":
                if isinstance(value, float) and value.is_integer():
                    return int(value)
                return value if number and isinstance(value, int) else None
            case "timestamp":
                return float(value) if number and FIRST_S <= value <= LAST_S else None
            case "float" | "double":
                return float(value) if number and abs(value) < 1e300 and math.isfinite(value) else None
            case "blob":
                return _blob(value)
        return None

    def _bounds(self, shape: Shape, value: Any, shown: Any, path: str, problems: Problems) -> None:
        """Notes it when a scalar misses its bounds or pattern."""
        if shape.type in ("string", "character", "blob"):
            self._length(shape, len(value), shown, path, problems)
            if shape.pattern is not None:
                pattern = java_pattern(shape.pattern)
                if pattern is not None and re.search(pattern, value) is None:
                    problems.violations.append(
                        f"Value '{_short(shown)}' at '{path}' failed to satisfy constraint: "
                        f"Member must satisfy regular expression pattern: {shape.pattern}"
                    )
            return
        if shape.type == "boolean":
            return
        low, high = LIMITS.get(shape.type, (-math.inf, math.inf))
        low = low if shape.min is None else max(shape.min, low)
        high = high if shape.max is None else min(shape.max, high)
        side = "less than or equal to" if value > high else "greater than or equal to" if value < low else None
        if side is not None:
            bound = high if value > high else low
            problems.violations.append(
                f"Value '{_short(shown)}' at '{path}' failed to satisfy constraint: Member must have value {side} {bound:.15g}"
            )

    def _length(self, shape: Shape, length: int, shown: Any, path: str, problems: Problems) -> None:
        if shape.min is not None and length < shape.min:
            side, bound = "greater than or equal to", shape.min
        elif shape.max is not None and length > shape.max:
            side, bound = "less than or equal to", shape.max
        else:
            return
        problems.violations.append(
            f"Value '{_short(shown)}' at '{path}' failed to satisfy constraint: Member must have length {side} {bound:.15g}"
        )


def _blob(value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _noun_of(value: Any) -> str:
    for kind, noun in (
        (bool, "true or false"),
        (str, f"the string '{_short(value)}'"),
        (int | float, f"the number {_short(value)}"),
        (list, "an array"),
        (dict, "an object"),
    ):
        if isinstance(value, kind):
            return noun
    return "null" if value is None else "something else"


def _short(value: Any) -> str:
    """At most 64 characters of a value, for a message."""
    if isinstance(value, list | dict):
        return "[...]" if isinstance(value, list) else "{...}"
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python will write
        return "a very large number"
    return text if len(text) <= 64 else text[:61] + "..."
