"""Holds texts against regular expressions of users in bounded time: Python's own engine may try for years, with nobody able to stop it.

Most patterns cannot run away and go to `re`. The others are walked here: each place of the pattern is tried at each place of the text once,
so the time is at most their product, and there is a bound on that too.
"""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import Any, NamedTuple

MAX_STEPS = 300_000  # of a walk: some tenths of a second
MAX_PLACES = 20_000  # of a pattern with its repetitions written out
MAX_TRIES = 2_000_000  # that `re` may need for what cannot run away
_PARSER: Any = importlib.import_module("re._parser")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
_PLACES = {
    "AT_BEGINNING": "^",
    "AT_BEGINNING_STRING": r"\A",
    "AT_END": "$",
    "AT_END_STRING": r"\Z",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": r"\B",
}


class TooHard(ValueError):
    """A pattern that cannot be held against a text in bounded time."""


def matches(expression: re.Pattern[str], text: str) -> bool:
    """Whether `expression` matches from the beginning of `text`, as its `match` says. Raises TooHard."""
    parsed = _PARSER.parse(expression.pattern, expression.flags)
    variable = _variable(parsed, is_repeated=False)
    if variable is not None and max(len(text), 1) ** variable <= MAX_TRIES:
        return expression.match(text) is not None
    return _Walk(parsed, expression.flags, text).is_match()


def _variable(nodes: Any, *, is_repeated: bool) -> int | None:
    """How many repetitions of a pattern may be of any length; None when repetitions or choices stand within repetitions."""
    count = 0
    for kind, argument in nodes:
        name = str(kind)
        if name in _REPEATS or name == "POSSESSIVE_REPEAT":
            low, high, inner = argument
            is_variable = low != high
            if is_repeated and is_variable:
                return None
            found = _variable(inner, is_repeated=is_repeated or high > 1)
            own = 1 if is_variable and high > 1 else 0
        elif name == "BRANCH":
            if is_repeated:
                return None
            each = [_variable(branch, is_repeated=False) for branch in argument[1]]
            found, own = (None if None in each else sum(one for one in each if one is not None)), 0
        elif name == "SUBPATTERN":
            found, own = _variable(argument[3], is_repeated=is_repeated), 0
        elif name in ("ASSERT", "ASSERT_NOT"):
            found, own = _variable(argument[1], is_repeated=is_repeated), 0
        elif name == "ATOMIC_GROUP":
            found, own = _variable(argument, is_repeated=is_repeated), 0
        elif name == "GROUPREF_EXISTS":
            return None
        else:
            continue
        if found is None:
            return None
        count += found + own
    return count


class _Step(NamedTuple):
    """One place of a pattern: `one` takes a character, `at` takes none, `split` goes on at several, `look` asks another walk, `end`."""

    kind: str
    test: re.Pattern[str] | None = None
    after: tuple[int, ...] = ()
    inner: int = 0
    back: int = 0
    wanted: bool = True


@lru_cache(maxsize=1024)
def _test(source: str, flags: int) -> re.Pattern[str]:
    return re.compile(source, flags)


class _Walk:
    def __init__(self, parsed: Any, flags: int, text: str) -> None:
        self.text = text
        self.steps: list[_Step] = []
        self.left = MAX_STEPS
        self.start = self._sequence(parsed, self._add(_Step("end")), flags)

    def is_match(self) -> bool:
        return self._reaches_end(self.start, 0)

    def _reaches_end(self, start: int, begin: int) -> bool:
        waiting, seen = [(start, begin)], set()
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            self.left -= 1
            if self.left < 0:
                raise TooHard("it takes too many steps")
            step, at = self.steps[here[0]], here[1]
            if step.kind == "end":
                return True
            if step.kind == "look":
                is_there = at >= step.back and self._reaches_end(step.inner, at - step.back)
                if is_there is not step.wanted:
                    continue
            elif step.test is not None and step.test.match(self.text, at) is None:
                continue
            waiting += [(after, at + (step.kind == "one")) for after in reversed(step.after)]
        return False

    # --- from what was parsed to steps, the last first ---

    def _add(self, step: _Step) -> int:
        if len(self.steps) >= MAX_PLACES:
            raise TooHard("it repeats too much")
        self.steps.append(step)
        return len(self.steps) - 1

    def _sequence(self, nodes: Any, after: int, flags: int) -> int:
        for kind, argument in reversed(list(nodes)):
            after = self._node(str(kind), argument, after, flags)
        return after

    def _node(self, name: str, argument: Any, after: int, flags: int) -> int:
        if name in _REPEATS:
            low, high, inner = argument
            return self._repeat(low, high, inner, after, flags)
        if name == "BRANCH":
            return self._add(_Step("split", after=tuple(self._sequence(branch, after, flags) for branch in argument[1])))
        if name == "SUBPATTERN":
            _, on, off, inner = argument
            return self._sequence(inner, after, (flags | on) & ~off)
        if name in ("ASSERT", "ASSERT_NOT"):
            direction, inner = argument
            back = inner.getwidth()[0] if direction < 0 else 0
            start = self._sequence(inner, self._add(_Step("end")), flags)
            return self._add(_Step("look", after=(after,), inner=start, back=back, wanted=name == "ASSERT"))
        if name == "AT":
            return self._add(_Step("at", _test(_PLACES[str(argument)], flags), (after,)))
        return self._add(_Step("one", _test(_character(name, argument), flags), (after,)))

    def _repeat(self, low: int, high: Any, inner: Any, after: int, flags: int) -> int:
        start = after
        if str(high) == "MAXREPEAT":
            start = self._add(_Step("split"))
            self.steps[start] = _Step("split", after=(self._sequence(inner, start, flags), after))
        else:
            for _ in range(high - low):
                start = self._add(_Step("split", after=(self._sequence(inner, start, flags), after)))
        for _ in range(low):
            start = self._sequence(inner, start, flags)
        return start


def _character(name: str, argument: Any) -> str:
    """The source of what takes one character. Raises TooHard for what depends on what was matched before."""
    if name == "LITERAL":
        return re.escape(chr(argument))
    if name == "NOT_LITERAL":
        return f"[^{re.escape(chr(argument))}]"
    if name == "ANY":
        return "."
    if name != "IN":
        raise TooHard("it refers back to what it has matched")
    parts = []
    for kind, value in argument:
        each = str(kind)
        if each == "NEGATE":
            parts.append("^")
        elif each == "LITERAL":
            parts.append(re.escape(chr(value)))
        elif each == "RANGE":
            parts.append(f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}")
        else:
            parts.append(_CATEGORIES[str(value)])
    return f"[{''.join(parts)}]"
