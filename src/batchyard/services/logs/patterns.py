"""Filter patterns: of unstructured events here (terms, "quoted phrases", %expressions%, -exclusions, ?alternatives), the others beside.

Case counts, and a term matches anywhere in the message, inside a word too. As on AWS, alternatives are ignored when there are
other terms beside them, and a term with other characters than letters, digits and underscores must be quoted.
Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from batchyard.services.logs.names import refusal
from batchyard.services.logs.patterns_fields import compile_fields
from batchyard.services.logs.patterns_json import compile_json
from batchyard.services.logs.patterns_values import expression

Extract = Callable[[bytes], dict[str, str] | None]
Test = Callable[[bytes], bool]

_TERM = re.compile(r'\s*(?P<sign>[-?]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|%(?P<expression>[^%]+)%|(?P<word>[^\s"]+))(?=\s|$)')


def compile_pattern(pattern: str) -> Test:
    """Whether a message (UTF-8) matches `pattern`; the empty pattern matches all. InvalidParameterException for what is no pattern."""
    pattern = pattern.strip()
    if not pattern.startswith(("{", "[")):
        return _compile_terms(pattern)
    extract = compile_extractor(pattern)
    return lambda message: extract(message) is not None


def compile_extractor(pattern: str) -> Extract:
    """What a pattern names in a message that matches it; None of one that does not. Terms name nothing."""
    pattern = pattern.strip()
    if pattern.startswith("{"):
        return compile_json(pattern)
    if pattern.startswith("["):
        return compile_fields(pattern)
    matches = _compile_terms(pattern)
    return lambda message: {} if matches(message) else None


def _compile_terms(pattern: str) -> Test:
    needed: list[Test] = []
    excluded: list[Test] = []
    alternatives: list[Test] = []
    at = 0
    while at < len(pattern):
        found = _TERM.match(pattern, at)
        if found is None:
            raise refusal(f"Invalid filter pattern: a quotation mark is missing or misplaced in '{pattern[at:].strip()}'")
        at = found.end()
        kind = {"": needed, "-": excluded, "?": alternatives}[found["sign"]]
        if found["expression"] is not None:
            kind.append(_matches(expression(found["expression"])))
        else:
            kind.append(_holds(_literal(found["phrase"], found["word"]).encode()))
    if needed or excluded:
        return lambda message: all(test(message) for test in needed) and not any(test(message) for test in excluded)
    if alternatives:
        return lambda message: any(test(message) for test in alternatives)
    return lambda message: True


def _holds(term: bytes) -> Test:
    return lambda message: term in message


def _matches(pattern: re.Pattern[str]) -> Test:
    return lambda message: pattern.search(message.decode("utf-8", "replace")) is not None


def _literal(phrase: str | None, word: str | None) -> str:
    if phrase is None:
        assert word is not None
        if not re.fullmatch(r"\w+", word):
            raise refusal(f"Invalid filter pattern: Invalid character(s) in term '{word}': put it into double quotes")
        return word
    if not phrase:
        raise refusal("Invalid filter pattern: Invalid character(s) in term '\"\"': a phrase may not be empty")
    return re.sub(r"\\(.)", r"\1", phrase)
