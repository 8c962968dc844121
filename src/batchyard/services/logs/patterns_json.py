"""Filter patterns of JSON events: `{ $.level = "ERROR" && ($.code >= 500 || $.user NOT EXISTS) }`; pure.

Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax for JSON log events".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from batchyard.services.logs.names import refusal
from batchyard.services.logs.patterns_values import OPERATORS, comparison

Extract = Callable[[bytes], dict[str, str] | None]
Test = Callable[[Any], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<selector>\$(?:\.(?:[\w@:\-]+|\*)|\[(?:\d+|\*|'[^']*'|"[^"]*")\])*)
    |(?P<operator>!=|<=|>=|=|<|>)|(?P<mark>&&|\|\||\(|\))
    |"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<regex>%[^%]*%)|(?P<word>[^\s()&|=<>!"%$]+))""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([\w@:\-]+|\*)|\[(\d+|\*|'[^']*'|"[^"]*")\]""")
_DEPTH_MAX = 50


def compile_json(pattern: str) -> Extract:
    """The values that the pattern names, of an event that matches; None of one that does not."""
    if not pattern.endswith("}"):
        raise refusal("Invalid filter pattern: a JSON pattern ends with }")
    reader = _Reader(_tokens(pattern[1:-1]))
    test = reader.alternatives(0)
    reader.expect_end()
    names = list(dict.fromkeys(reader.selectors))

    def extract(message: bytes) -> dict[str, str] | None:
        try:
            event = json.loads(message)
        except (ValueError, RecursionError):
            return None
        if not isinstance(event, dict | list) or not test(event):
            return None
        return {name: _shown(value) for name in names for value in list(_found(event, _steps(name)))[:1]}

    return extract


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each token."""
    found, at = [], 0
    while text[at:].strip():
        token = _TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            raise refusal(f"Invalid filter pattern: it cannot be read from '{text[at:].strip()[:40]}' on")
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return found


class _Reader:
    """Reads the tokens once, from left to right; `selectors` are those that it came by."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self.selectors: list[str] = []

    def alternatives(self, depth: int) -> Test:
        """`a || b`."""
        if depth > _DEPTH_MAX:
            raise refusal("Invalid filter pattern: too many parentheses within each other")
        tests = [self._together(depth)]
        while self._take("mark", "||"):
            tests.append(self._together(depth))
        return tests[0] if len(tests) == 1 else lambda event: any(test(event) for test in tests)

    def _together(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._take("mark", "&&"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda event: all(test(event) for test in tests)

    def _one(self, depth: int) -> Test:
        if self._take("mark", "("):
            test = self.alternatives(depth + 1)
            if not self._take("mark", ")"):
                raise refusal("Invalid filter pattern: a closing parenthesis is missing")
            return test
        kind, selector = self._next()
        if kind != "selector" or selector == "$":
            raise refusal(f"Invalid filter pattern: a selector like $.name must stand where '{selector}' does")
        self.selectors.append(selector)
        steps = _steps(selector)
        kind, text = self._next()
        if kind == "word":
            return self._word_test(text.upper(), steps)
        if kind != "operator" or text not in OPERATORS:
            raise refusal(f"Invalid filter pattern: an operator must follow {selector}, not '{text}'")
        kind, wanted = self._next()
        if kind not in ("quoted", "word", "regex"):
            raise refusal(f"Invalid filter pattern: a value must follow {selector} {text}")
        quoted = kind == "quoted"
        compared = comparison(text, re.sub(r"\\(.)", r"\1", wanted) if quoted else wanted, quoted)
        return lambda event: any(compared.holds(value) for value in _found(event, steps))

    def _word_test(self, word: str, steps: list[str | int]) -> Test:
        if word == "EXISTS":
            return lambda event: any(True for _ in _found(event, steps))
        if word == "NOT" and self._take("word", "EXISTS"):
            return lambda event: not any(True for _ in _found(event, steps))
        named: dict[str, bool | None] = {"TRUE": True, "FALSE": False, "NULL": None}
        if word == "IS":
            for name, wanted in named.items():
                if self._take("word", name):
                    return lambda event: any(value is wanted for value in _found(event, steps))
        raise refusal("Invalid filter pattern: a selector is followed by an operator, IS TRUE, IS FALSE, IS NULL, EXISTS or NOT EXISTS")

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise refusal(f"Invalid filter pattern: '{self._tokens[self._at][1]}' is left over at the end")

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise refusal("Invalid filter pattern: it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, kind: str, text: str) -> bool:
        if self._at < len(self._tokens):
            found_kind, found = self._tokens[self._at]
            if found_kind == kind and found.upper() == text:
                self._at += 1
                return True
        return False


def _steps(selector: str) -> list[str | int]:
    """The names and indexes on the way; `*` is any."""
    steps: list[str | int] = []
    for name, index in _STEP.findall(selector[1:]):
        if name:
            steps.append(name)
        else:
            steps.append(int(index) if index.isdigit() else index.strip("'\""))
    return steps


def _found(value: Any, steps: list[str | int]) -> Iterator[Any]:
    """The values that the steps lead to."""
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if step == "*":
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from _found(inner, rest)
    elif isinstance(step, int):
        if isinstance(value, list) and step < len(value):
            yield from _found(value[step], rest)
    elif isinstance(value, dict) and step in value:
        yield from _found(value[step], rest)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
