"""Filter patterns of unstructured events: terms, "quoted phrases", -exclusions and ?alternatives.

Case counts, and a term matches anywhere in the message, inside a word too. As on AWS, alternatives are ignored when there are
other terms beside them, and a term with other characters than letters, digits and underscores must be quoted. Patterns for
JSON, for space-delimited events and regular expressions are refused.
Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from batchyard.services.logs.names import refusal

_TERM = re.compile(r'\s*(?P<sign>[-?]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|(?P<word>[^\s"]+))(?=\s|$)')


def compile_pattern(pattern: str) -> Callable[[bytes], bool]:
    """Whether a message (UTF-8) matches `pattern`; the empty pattern matches all. InvalidParameterException for what is no pattern."""
    pattern = pattern.strip()
    _refuse_other_kinds(pattern)
    needed: list[bytes] = []
    excluded: list[bytes] = []
    alternatives: list[bytes] = []
    at = 0
    while at < len(pattern):
        found = _TERM.match(pattern, at)
        if found is None:
            raise refusal(f"Invalid filter pattern: a quotation mark is missing or misplaced in '{pattern[at:].strip()}'")
        at = found.end()
        kind = {"": needed, "-": excluded, "?": alternatives}[found["sign"]]
        kind.append(_literal(found["phrase"], found["word"]).encode())
    if needed or excluded:
        return lambda message: all(term in message for term in needed) and not any(term in message for term in excluded)
    if alternatives:
        return lambda message: any(term in message for term in alternatives)
    return lambda message: True


def _refuse_other_kinds(pattern: str) -> None:
    kinds = {"{": "JSON patterns ({ ... })", "[": "patterns for space-delimited events ([...])", "%": "regular expressions (%...%)"}
    for opening, kind in kinds.items():
        if pattern.startswith(opening):
            raise refusal(
                f'Invalid filter pattern: {kind} are not available here; use terms, "quoted phrases", -exclusions or ?alternatives'
            )


def _literal(phrase: str | None, word: str | None) -> str:
    if phrase is None:
        assert word is not None
        if not re.fullmatch(r"\w+", word):
            raise refusal(f"Invalid filter pattern: Invalid character(s) in term '{word}': put it into double quotes")
        return word
    if not phrase:
        raise refusal("Invalid filter pattern: Invalid character(s) in term '\"\"': a phrase may not be empty")
    return re.sub(r"\\(.)", r"\1", phrase)
