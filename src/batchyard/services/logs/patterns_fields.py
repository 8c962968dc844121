"""Filter patterns of space-delimited events: `[ip, user, ..., status_code = 4*, bytes > 1000]`; pure.

Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax for space-delimited log events".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from batchyard.services.logs.names import refusal
from batchyard.services.logs.patterns_values import comparison

Extract = Callable[[bytes], dict[str, str] | None]
Test = Callable[[str], bool]

_WORD = re.compile(r'\[([^\]]*)\]|"([^"]*)"|(\S+)')
_FIELD = re.compile(r"\s*(\.\.\.|[\w@$]+)?\s*")
_CONDITION = re.compile(r'\s*([\w@$]+)\s*(!=|<=|>=|=|<|>)\s*(?:"((?:[^"\\]|\\.)*)"|(%[^%]*%)|([^\s,&|\]"]+))\s*')


def compile_fields(pattern: str) -> Extract:
    """The fields by name (`$ip`), of an event that matches; None of one that does not."""
    if not pattern.endswith("]"):
        raise refusal("Invalid filter pattern: a pattern for space-delimited events ends with ]")
    fields = [_field(text, number) for number, text in enumerate(_split(pattern[1:-1]), 1)]
    gaps = [number for number, (name, _) in enumerate(fields) if name == "..."]
    if len(gaps) > 1:
        raise refusal("Invalid filter pattern: only one ... can stand for any number of fields")

    def extract(message: bytes) -> dict[str, str] | None:
        words = [bracketed or quoted or plain for bracketed, quoted, plain in _WORD.findall(message.decode("utf-8", "replace"))]
        named = fields
        if gaps:
            missing = len(words) - (len(fields) - 1)
            if missing < 0:
                return None
            filler: list[tuple[str, Test]] = [(f"{gaps[0] + 1 + n}", _anything) for n in range(missing)]
            named = fields[: gaps[0]] + filler + fields[gaps[0] + 1 :]
        if len(words) != len(named) or not all(test(word) for word, (_, test) in zip(words, named, strict=True)):
            return None
        return {f"${name}": word for word, (name, _) in zip(words, named, strict=True)}

    return extract


def _split(text: str) -> list[str]:
    """The fields of the pattern: at commas outside quotes and regular expressions."""
    parts, start, closing = [], 0, ""
    for at, mark in enumerate(text):
        if closing:
            closing = "" if mark == closing and text[at - 1] != "\\" else closing
        elif mark in '"%':
            closing = mark
        elif mark == ",":
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _field(text: str, number: int) -> tuple[str, Test]:
    """(name, test of the word there) of one field of the pattern."""
    plain = _FIELD.fullmatch(text)
    if plain is not None:
        return plain[1] or str(number), _anything
    alternatives: list[list[Test]] = [[]]
    name, at = "", 0
    while True:
        found = _CONDITION.match(text, at)
        if found is None or (name and found[1] != name):
            raise refusal(f"Invalid filter pattern: the field '{text.strip()}' must be a name, or NAME OPERATOR VALUE joined by && or ||")
        name, at = found[1], found.end()
        quoted = found[3] is not None
        value = re.sub(r"\\(.)", r"\1", found[3]) if quoted else found[4] or found[5]
        alternatives[-1].append(comparison(found[2], value, quoted).holds)
        if at == len(text):
            break
        joint = text[at : at + 2]
        if joint == "||":
            alternatives.append([])
        elif joint != "&&":
            raise refusal(f"Invalid filter pattern: the field '{text.strip()}' cannot be read")
        at += 2
    return name, lambda word: any(all(test(word) for test in tests) for tests in alternatives)


def _anything(word: str) -> bool:
    return True
