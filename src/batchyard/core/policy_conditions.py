"""Conditions of policies: the operators, and how keys with no value, one or many are judged (IAM User Guide, "Condition operators")."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from batchyard.core.policy_patterns import filled, matches, read_pattern

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|([+-]\d\d):?(\d\d))?)?")
Test = Callable[[str, str], bool]
# What a variable stands for is no wildcard, and neither is ${*}. Between filling in and comparing they are characters that no text holds.
_HIDDEN = str.maketrans({"*": "\ufdd0", "?": "\ufdd1"})
_AS_TOLD = str.maketrans({"\ufdd0": "*", "\ufdd1": "?"})
_WITH_WILDCARDS = frozenset({"stringlike", "stringnotlike", "arnequals", "arnnotequals", "arnlike", "arnnotlike"})


class Condition(Struct, frozen=True):
    """One operator over one key: `wanted` are the values of which one must match (none may, of negated operators)."""

    operator: str  # in small letters, without set prefix and IfExists
    key: str  # in small letters
    wanted: tuple[str, ...]
    if_exists: bool = False
    over: str = ""  # "", "any" (ForAnyValue) or "all" (ForAllValues)
    has_variables: bool = True


def _number(text: str) -> float:
    return float(text)


def _date(text: str) -> float:
    """Epoch seconds of ISO 8601 or of a number. Raises ValueError."""
    found = _DATE.fullmatch(text)
    if found is None:
        return float(text)
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    shift = int(found[7] or 0) * 60 + (int(found[8] or 0) if not (found[7] or "").startswith("-") else -int(found[8] or 0))
    # days since 1970 in the proleptic Gregorian calendar, counted from March so that leap days come last
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    return days * 86400.0 + hour * 3600 + minute * 60 + second - shift * 60


def _compared(read: Callable[[str], float], test: Callable[[float, float], bool]) -> Test:
    def compare(found: str, wanted: str) -> bool:
        try:
            return test(read(found), read(wanted))
        except ValueError:
            return False

    return compare


def _like(found: str, wanted: str) -> bool:
    pattern = read_pattern(wanted, has_variables=False)
    return matches(tuple((kind, part.translate(_AS_TOLD)) for kind, part in pattern), found)


def _arn_like(found: str, wanted: str) -> bool:
    """Part by part: a wildcard does not reach over a colon, but for the last part."""
    asked, given = wanted.split(":", 5), found.split(":", 5)
    return len(asked) == len(given) == 6 and all(_like(g, a) for g, a in zip(given, asked, strict=True))


def _in_network(found: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(found) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _same_bytes(found: str, wanted: str) -> bool:
    try:
        return base64.b64decode(found, validate=True) == base64.b64decode(wanted, validate=True)
    except (binascii.Error, ValueError):
        return False


_TESTS: dict[str, Test] = {
    "stringequals": lambda found, wanted: found == wanted,
    "stringequalsignorecase": lambda found, wanted: found.casefold() == wanted.casefold(),
    "stringlike": _like,
    "bool": lambda found, wanted: found.lower() == wanted.lower(),
    "binaryequals": _same_bytes,
    "ipaddress": _in_network,
    "arnequals": _arn_like,
    "arnlike": _arn_like,
    "numericequals": _compared(_number, lambda a, b: a == b),
    "numericlessthan": _compared(_number, lambda a, b: a < b),
    "numericlessthanequals": _compared(_number, lambda a, b: a <= b),
    "numericgreaterthan": _compared(_number, lambda a, b: a > b),
    "numericgreaterthanequals": _compared(_number, lambda a, b: a >= b),
    "dateequals": _compared(_date, lambda a, b: a == b),
    "datelessthan": _compared(_date, lambda a, b: a < b),
    "datelessthanequals": _compared(_date, lambda a, b: a <= b),
    "dategreaterthan": _compared(_date, lambda a, b: a > b),
    "dategreaterthanequals": _compared(_date, lambda a, b: a >= b),
}
_NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "notipaddress": "ipaddress",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
}
OPERATORS = frozenset({*_TESTS, *_NEGATED, "null"})


def read_condition(operator: str, key: str, wanted: Sequence[str], *, has_variables: bool) -> Condition | None:
    """The condition, or None when `operator` is not known."""
    over, name = "", operator
    for prefix, kind in (("ForAnyValue:", "any"), ("ForAllValues:", "all")):
        if name.lower().startswith(prefix.lower()):
            over, name = kind, name[len(prefix) :]
    small = name.lower()
    if_exists = small.endswith("ifexists") and small != "null"
    small = small.removesuffix("ifexists") if if_exists else small
    if small not in OPERATORS:
        return None
    return Condition(small, key.lower(), tuple(wanted), if_exists, over, has_variables)


def holds(condition: Condition, context: Mapping[str, Sequence[str]]) -> bool:
    """Whether a condition holds of a request. Raises `UnknownVariable` when it names one that the request does not have."""
    found = context.get(condition.key)
    if condition.operator == "null":
        is_missing = found is None or not found
        return any((wanted.lower() == "true") == is_missing for wanted in condition.wanted)
    negated = condition.operator in _NEGATED
    if found is None or not found:
        return condition.if_exists or condition.over == "all" or (negated and condition.over != "any")
    test = _TESTS[_NEGATED.get(condition.operator, condition.operator)]
    wanted = [_filled(value, condition, context) for value in condition.wanted]

    def passes(value: str) -> bool:
        return any(test(value, one) for one in wanted) is not negated

    return any(map(passes, found)) if condition.over == "any" else all(map(passes, found))


def _filled(value: str, condition: Condition, context: Mapping[str, Sequence[str]]) -> str:
    """A wanted value with its variables replaced; wildcards of it stay wildcards."""
    if not condition.has_variables or "${" not in value:
        return value
    parts = filled(read_pattern(value, has_variables=True), context)
    hides = condition.operator in _WITH_WILDCARDS
    return "".join(text.translate(_HIDDEN) if hides and kind == "text" else text for kind, text in parts)


def lowered(entries: Mapping[str, str | Sequence[str]]) -> dict[str, Sequence[str]]:
    """Condition keys in small letters, each with its values."""
    return {key.lower(): (value,) if isinstance(value, str) else tuple(value) for key, value in entries.items()}
