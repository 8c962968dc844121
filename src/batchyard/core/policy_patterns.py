"""Patterns of policies: wildcards, and variables that stand for something of the request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

ANY = "*"
ONE = "?"

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERAL = {"*", "?", "$"}


class UnknownVariable(Exception):
    """A policy variable that the request gives no value for: the statement does not apply."""


Pattern = tuple[tuple[str, str], ...]
"""Parts in order: ("text", literal), ("wild", "*" or "?"), ("variable", its name and default as written)."""


def read_pattern(text: str, *, has_variables: bool) -> Pattern:
    """The parts of `text`; only policies of version 2012-10-17 have variables."""
    parts: list[tuple[str, str]] = []
    at = 0
    for found in _VARIABLE.finditer(text) if has_variables else ():
        _plain(text[at : found.start()], parts)
        parts.append(("text", found[1]) if found[1] in _LITERAL else ("variable", found[1]))
        at = found.end()
    _plain(text[at:], parts)
    return tuple(parts)


def _plain(text: str, parts: list[tuple[str, str]]) -> None:
    pieces = [piece for piece in re.split(r"([*?])", text) if piece]
    parts.extend(("wild" if piece in (ANY, ONE) else "text", piece) for piece in pieces)


def filled(pattern: Pattern, context: Mapping[str, Sequence[str]]) -> Pattern:
    """The pattern with its variables replaced by what the request says. Raises `UnknownVariable`."""
    if not any(kind == "variable" for kind, _ in pattern):
        return pattern
    return tuple(("text", _value(text, context)) if kind == "variable" else (kind, text) for kind, text in pattern)


def _value(variable: str, context: Mapping[str, Sequence[str]]) -> str:
    name, comma, default = variable.partition(",")
    values = context.get(name.strip().lower())
    if values is not None and len(values) == 1:
        return values[0]
    if comma:
        return default.strip().strip("'")
    raise UnknownVariable(name)


def matches(pattern: Pattern, text: str) -> bool:
    """Whether all of `text` matches. Never slower than the product of both lengths."""
    if len(pattern) == 1:
        kind, part = pattern[0]
        if kind == "text":
            return part == text
        if part == ANY:
            return True
    return _matches_symbols([symbol for kind, part in pattern for symbol in _symbols(kind, part)], text)


def _symbols(kind: str, part: str) -> list[str | None]:
    """One entry per character: a character, `""` for exactly one of any, None for any number of any."""
    if kind == "wild":
        return [None if part == ANY else ""]
    return list(part)


def _matches_symbols(symbols: list[str | None], text: str) -> bool:
    at, star, resume = 0, -1, 0
    position = 0
    while position < len(text):
        symbol = symbols[at] if at < len(symbols) else "end"
        if at < len(symbols) and symbol is None:
            star, resume, at = at, position, at + 1
        elif at < len(symbols) and symbol in ("", text[position]):
            at, position = at + 1, position + 1
        elif star >= 0:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return all(symbol is None for symbol in symbols[at:])
