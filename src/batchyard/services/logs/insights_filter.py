"""Conditions of CloudWatch Logs Insights queries, and the tokens that queries are made of; pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from batchyard.model.fault import Fault
from batchyard.services.logs.patterns_values import COMPARISONS

Row = dict[str, str]
Test = Callable[[Row], bool]

_TOKEN = re.compile(
    r"""\s+|(?P<regex>/(?:[^/\\\n]|\\.)+/i?)(?=[\s|)\],]|$)
    |"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|`(?P<ticked>[^`]*)`
    |(?P<mark>!=|<=|>=|=~|[=<>(),\[\]|*])|(?P<word>-?[\w@.:$-]+)""",
    re.VERBOSE,
)
_DEPTH_MAX = 50
_IS_EMPTY: dict[str, Callable[[str | None], bool]] = {
    "ispresent": lambda value: value is not None,
    "isempty": lambda value: not value,
    "isblank": lambda value: not value or value.isspace(),
}


class Tokens:
    """The tokens of one command, read once from left to right. Text in quotes keeps a mark in front, so that it is no name."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str:
        """The next token, "" at the end."""
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def kind(self) -> str:
        """What kind the next token is: word, mark, regex, ticked, double or single (quotes); "" at the end."""
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def next(self, wanted: str) -> str:
        """The next token, whatever it is."""
        if self._at == len(self._tokens):
            raise no_query(f"{wanted} is missing at the end")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def name(self, wanted: str) -> str:
        """The next token, which must be a name."""
        if self.kind() not in ("word", "ticked"):
            raise no_query(f"{wanted} must stand where '{self.peek()}' does")
        return self.next(wanted)

    def take(self, text: str) -> bool:
        """Whether the next token is this keyword or mark; then it is read."""
        if self.kind() in ("word", "mark") and self.peek().lower() == text:
            self._at += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        """Read this mark."""
        if not self.take(mark):
            raise no_query(f"'{mark}' must stand where '{self.peek()}' does")

    def expect_end(self) -> None:
        """Nothing may be left over."""
        if self.peek():
            raise no_query(f"'{self.peek()}' is left over; expressions and functions of fields are not served here")


def tokens_of(text: str) -> list[Tokens]:
    """The commands of a query, which `|` separates."""
    commands: list[list[tuple[str, str]]] = [[]]
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise no_query(f"it cannot be read from '{text[at : at + 30]}' on")
        at = found.end()
        kind = found.lastgroup
        if kind is None:
            continue
        value = found[kind]
        if kind == "mark" and value == "|":
            commands.append([])
        else:
            commands[-1].append((kind, re.sub(r"\\(.)", r"\1", value) if kind in ("double", "single") else value))
    return [Tokens(command) for command in commands]


def read_condition(tokens: Tokens, depth: int = 0) -> Test:
    """`a or b`, of `and`, of `not`, of comparisons."""
    if depth > _DEPTH_MAX:
        raise no_query("too many parentheses within each other")
    tests = [_together(tokens, depth)]
    while tokens.take("or"):
        tests.append(_together(tokens, depth))
    return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)


def _together(tokens: Tokens, depth: int) -> Test:
    tests = [_one(tokens, depth)]
    while tokens.take("and"):
        tests.append(_one(tokens, depth))
    return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)


def _one(tokens: Tokens, depth: int) -> Test:
    if tokens.take("not"):
        negated = _one(tokens, depth + 1) if depth < _DEPTH_MAX else read_condition(tokens, depth + 1)
        return lambda row: not negated(row)
    if tokens.take("("):
        test = read_condition(tokens, depth + 1)
        tokens.expect(")")
        return test
    if tokens.kind() == "regex":
        found = _expression(tokens.next("a regular expression"))
        return lambda row: found.search(row.get("@message", "")) is not None
    name = tokens.name("a field")
    if tokens.peek() == "(":
        return _function(name.lower(), tokens)
    return _comparison(name, tokens)


def _function(function: str, tokens: Tokens) -> Test:
    tokens.expect("(")
    name = tokens.name("a field")
    if function in _IS_EMPTY:
        tokens.expect(")")
        check = _IS_EMPTY[function]
        return lambda row: check(row.get(name))
    if function == "strcontains":
        tokens.expect(",")
        wanted = _value(tokens)
        tokens.expect(")")
        return lambda row: wanted in row.get(name, "")
    raise no_query(f"the function {function} is not served here; there are isPresent, isEmpty, isBlank and strcontains")


def _comparison(name: str, tokens: Tokens) -> Test:
    is_negated = tokens.take("not")
    if tokens.take("like") or tokens.take("=~"):
        test = _like(name, tokens)
    elif tokens.take("in"):
        test = _among(name, tokens)
    else:
        operator = tokens.next("an operator")
        if operator not in COMPARISONS or is_negated:
            raise no_query(f"an operator must stand where '{operator}' does")
        return _compared(name, operator, _value(tokens))
    return (lambda row: name in row and not test(row)) if is_negated else test


def _like(name: str, tokens: Tokens) -> Test:
    if tokens.kind() == "regex":
        pattern = _expression(tokens.next("a regular expression"))
        return lambda row: pattern.search(row.get(name, "")) is not None
    wanted = _value(tokens)
    if "%" in wanted:
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("%")), re.DOTALL)
        return lambda row: pattern.fullmatch(row.get(name, "")) is not None
    return lambda row: wanted in row.get(name, "")


def _among(name: str, tokens: Tokens) -> Test:
    tokens.expect("[")
    wanted = [_compared(name, "=", _value(tokens))]
    while tokens.take(","):
        wanted.append(_compared(name, "=", _value(tokens)))
    tokens.expect("]")
    return lambda row: any(test(row) for test in wanted)


def _compared(name: str, operator: str, wanted: str) -> Test:
    """Numbers are compared as numbers where both are, all else as text. A field that is missing satisfies nothing."""
    number, compare = number_of(wanted), COMPARISONS[operator]

    def test(row: Row) -> bool:
        value = row.get(name)
        if value is None:
            return False
        found = number_of(value) if number is not None else None
        if number is not None and found is not None:
            return compare(found, number)
        ordered = (value > wanted) - (value < wanted)
        return compare(ordered, 0)

    return test


def _value(tokens: Tokens) -> str:
    if tokens.kind() not in ("word", "double", "single"):
        raise no_query(f"a value must stand where '{tokens.peek()}' does")
    return tokens.next("a value")


def _expression(text: str) -> re.Pattern[str]:
    body, _, flags = text[1:].rpartition("/")
    try:
        return re.compile(body.replace("\\/", "/"), re.IGNORECASE if flags else 0)
    except re.error as error:
        raise no_query(f"the regular expression {text} cannot be read: {error}") from None


def number_of(text: str) -> float | None:
    """The number that a text is, or None."""
    return float(text) if re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text) else None


def no_query(message: str) -> Fault:
    """The refusal of a query."""
    return Fault("MalformedQueryException", f"Query's syntax is not correct: {message}")
