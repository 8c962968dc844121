"""What the structured filter patterns compare with: numbers, text with `*`, and regular expressions of CloudWatch's kind; pure.

Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax", and there "Supported regular expressions syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchyard.services.logs.names import refusal

OPERATORS = ("!=", "<=", ">=", "=", "<", ">")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
    "<": lambda value, wanted: value < wanted,
    "<=": lambda value, wanted: value <= wanted,
    ">": lambda value, wanted: value > wanted,
    ">=": lambda value, wanted: value >= wanted,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator` and what it compares with: a number, or a pattern for text."""

    operator: str
    number: float | None
    text: re.Pattern[str] | None

    def holds(self, value: Any) -> bool:
        """Whether it holds for a value out of an event: text, number, or what else JSON has."""
        if self.number is not None:
            number = _as_number(value)
            return number is not None and COMPARISONS[self.operator](number, self.number)
        assert self.text is not None
        if not isinstance(value, str):
            return False
        return (self.text.fullmatch(value) is not None) == (self.operator == "=")


def comparison(operator: str, text: str, is_quoted: bool) -> Comparison:
    """A comparison with what stands in the pattern. InvalidParameterException where the operator needs a number."""
    if not is_quoted and _NUMBER.fullmatch(text):
        return Comparison(operator, float(text), None)
    if operator not in ("=", "!="):
        raise refusal(f"Invalid filter pattern: {operator} compares with a number, not with '{text}'")
    if not is_quoted and len(text) > 1 and text[0] == text[-1] == "%":
        return Comparison(operator, None, re.compile(f".*(?:{expression(text[1:-1]).pattern}).*", re.DOTALL))
    return Comparison(operator, None, _with_stars(text))


def expression(text: str) -> re.Pattern[str]:
    """A regular expression. Groups and back references are refused, on AWS too: without them none takes for ever."""
    if not text or re.search(r"(?<!\\)(?:\\\\)*[()]", text) or re.search(r"\\[1-9]", text):
        raise refusal(f"Invalid filter pattern: the regular expression '{text}' is empty, or has groups or back references")
    try:
        return re.compile(text)
    except re.error as error:
        raise refusal(f"Invalid filter pattern: the regular expression '{text}' cannot be read: {error}") from None


def _with_stars(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def _as_number(value: Any) -> float | None:
    """Numbers in JSON are numbers; a token of a line is one when it reads as one."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None
