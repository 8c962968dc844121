"""Event patterns of EventBridge: what a pattern means, and whether an event matches it. Pure: text and plain values in, a function out.

A pattern is an object. Each of its members names a member of the event; a list holds the values or filters of which one must hold (for
a list in the event: of one of its elements), an object looks into the member. `$or` is a list of patterns of which one must match.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Matches = Callable[[Any], bool]
Test = Callable[[Any], bool]  # of one value that is there

MOST_DEPTH = 50
_ABSENT = object()
_COMPARES: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class BadPattern(Exception):
    """The pattern means nothing; the message says where and why."""


def compile_pattern(text: str) -> Matches:
    """Whether an event (plain values) matches the pattern in `text`, as a function. Raises `BadPattern`."""
    try:
        pattern = json.loads(text)
    except (ValueError, RecursionError):
        raise BadPattern("Event pattern is not valid. Reason: it is no JSON") from None
    if not isinstance(pattern, dict):
        raise BadPattern("Event pattern is not valid. Reason: Filter is not an object")
    return _object(pattern, 0)


def _object(pattern: Mapping[str, Any], depth: int) -> Matches:
    if not pattern:
        raise BadPattern("Event pattern is not valid. Reason: Empty objects are not allowed")
    if depth > MOST_DEPTH:
        raise BadPattern(f"Event pattern is not valid. Reason: more than {MOST_DEPTH} objects in each other")
    tests = [_either(rule, depth) if name == "$or" else _member(name, rule, depth) for name, rule in pattern.items()]
    return lambda event: all(test(event) for test in tests)


def _either(rule: Any, depth: int) -> Matches:
    if not isinstance(rule, list) or len(rule) < 2 or not all(isinstance(one, dict) for one in rule):
        raise BadPattern("Event pattern is not valid. Reason: $or must be a list of two or more objects")
    tests = [_object(one, depth + 1) for one in rule]
    return lambda event: any(test(event) for test in tests)


def _member(name: str, rule: Any, depth: int) -> Matches:
    if isinstance(rule, dict):
        inner = _object(rule, depth + 1)
        return lambda event: _looks_into(event, name, inner)
    if not isinstance(rule, list) or not rule:
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}" must be an object or an array that is not empty')
    tests = [_filter(name, one) for one in rule]

    def matches(event: Any) -> bool:
        value = event.get(name, _ABSENT) if isinstance(event, dict) else _ABSENT
        return any(test(value) for test in tests)

    return matches


def _looks_into(event: Any, name: str, inner: Matches) -> bool:
    value = event.get(name) if isinstance(event, dict) else None
    if isinstance(value, list):
        return any(isinstance(element, dict) and inner(element) for element in value)
    return inner(value if isinstance(value, dict) else {})


def _filter(name: str, rule: Any) -> Test:
    """Whether a member, which may be `_ABSENT` or a list, holds to one entry of a pattern's list."""
    if isinstance(rule, list):
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": a list in a list')
    if not isinstance(rule, dict):
        return _of_any(lambda value: _same(value, rule))
    if len(rule) != 1:
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": a filter is an object with one member')
    ((kind, argument),) = rule.items()
    if kind == "exists":
        if not isinstance(argument, bool):
            raise BadPattern(f'Event pattern is not valid. Reason: "{name}": exists must be true or false')
        # Only leaves exist: an object is none.
        return lambda value: (value is not _ABSENT and not isinstance(value, dict)) is argument
    if kind == "anything-but":
        test = _but(name, argument)
        return lambda value: value is not _ABSENT and all(test(one) for one in _elements(value))
    return _of_any(_test(name, kind, argument))


def _elements(value: Any) -> list[Any]:
    return [element for element in value if not isinstance(element, dict | list)] if isinstance(value, list) else [value]


def _of_any(test: Test) -> Test:
    return lambda value: value is not _ABSENT and any(test(one) for one in _elements(value))


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool) or value is None or wanted is None:
        return value is wanted
    return (type(value) is type(wanted) and value == wanted) or (_is_number(value) and _is_number(wanted) and value == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(name: str, kind: str, argument: Any) -> str:
    if not isinstance(argument, str) or not argument:
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": {kind} must be a string that is not empty')
    return argument


def _test(name: str, kind: str, argument: Any) -> Test:
    if kind in ("prefix", "suffix"):
        return _affix(name, kind, argument)
    if kind == "equals-ignore-case":
        folded = _text(name, kind, argument).lower()
        return lambda value: isinstance(value, str) and value.lower() == folded
    if kind == "wildcard":
        return _wildcard(name, _text(name, kind, argument))
    if kind == "numeric":
        return _numeric(name, argument)
    if kind == "cidr":
        return _cidr(name, argument)
    raise BadPattern(f'Event pattern is not valid. Reason: Unrecognized match type {kind} at "{name}"')


def _affix(name: str, kind: str, argument: Any) -> Test:
    ignores_case = isinstance(argument, dict)
    if ignores_case:
        if set(argument) != {"equals-ignore-case"}:
            raise BadPattern(f'Event pattern is not valid. Reason: "{name}": {kind} may only hold equals-ignore-case')
        argument = argument["equals-ignore-case"]
    wanted = _text(name, kind, argument)

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        have, part = (value.lower(), wanted.lower()) if ignores_case else (value, wanted)
        return have.startswith(part) if kind == "prefix" else have.endswith(part)

    return test


def _wildcard(name: str, argument: str) -> Test:
    r"""`*` stands for any text; `\*` and `\\` for themselves."""
    if "**" in argument.replace("\\\\", "").replace("\\*", ""):
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": wildcard must not hold two * in a row')
    if not re.fullmatch(r"(?:\\[*\\]|[^\\])*", argument, re.DOTALL):
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": wildcard: only * and \\ may follow a \\')
    parts: list[str] = [""]
    for token in re.findall(r"\\[*\\]|[^\\]", argument, re.DOTALL):
        if token == "*":
            parts.append("")
        else:
            parts[-1] += token[-1]

    def test(value: Any) -> bool:
        return isinstance(value, str) and _in_order(value, parts)

    return test


def _in_order(text: str, parts: list[str]) -> bool:
    """Whether `text` is these parts with anything between them; linear in the text, whoever wrote the pattern."""
    if len(parts) == 1:
        return text == parts[0]
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _numeric(name: str, argument: Any) -> Test:
    wrong = BadPattern(f'Event pattern is not valid. Reason: "{name}": numeric must be a list like [">", 0, "<=", 5]')
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise wrong
    bounds: list[tuple[Callable[[float, float], bool], float]] = []
    for sign, bound in zip(argument[::2], argument[1::2], strict=True):
        if not isinstance(sign, str) or sign not in _COMPARES or not _is_number(bound):
            raise wrong
        bounds.append((_COMPARES[sign], bound))
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in bounds)


def _cidr(name: str, argument: Any) -> Test:
    try:
        network = ipaddress.ip_network(_text(name, "cidr", argument), strict=False)
    except ValueError:
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": cidr must be like 10.0.0.0/24') from None

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _but(name: str, argument: Any) -> Test:
    """Whether one value is none of what `anything-but` names."""
    if isinstance(argument, dict):
        if len(argument) != 1:
            raise BadPattern(f'Event pattern is not valid. Reason: "{name}": anything-but may hold one filter')
        ((kind, inner),) = argument.items()
        if kind not in ("prefix", "suffix", "wildcard", "equals-ignore-case"):
            raise BadPattern(f'Event pattern is not valid. Reason: "{name}": anything-but cannot hold {kind}')
        tests = [_test(name, kind, one) for one in (inner if isinstance(inner, list) and inner else [inner])]
        return lambda value: not any(test(value) for test in tests)
    values = argument if isinstance(argument, list) else [argument]
    if not values or not all(isinstance(one, str) or _is_number(one) for one in values):
        raise BadPattern(f'Event pattern is not valid. Reason: "{name}": anything-but must be strings or numbers')
    return lambda value: not any(_same(value, one) for one in values)
