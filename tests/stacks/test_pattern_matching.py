"""Patterns of parameters: those that could run away give the same answers as Python's engine, in bounded time."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.services.cloudformation.template import matching

PROGRAM = """
import re, sys
from batchyard.services.cloudformation.template import matching
try:
    print(matching.matches(re.compile(sys.argv[1]), sys.argv[2]))
except matching.TooHard as error:
    print("too hard")
"""


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        (r"(?:(a+)+)\Z", "a" * 4000 + "!", "False"),
        (r"(?:(a|a|aa)*)\Z", "a" * 4000, "True"),
        (r"(?:(.*)*x)\Z", "y" * 4000, "False"),
        (r"(?:([a-z]+\.)+com)\Z", "ab." * 1300 + "com", "True"),
        (r"(?:.*.*.*.*.*x)\Z", "y" * 4000, "False"),
        (r"(?:(?=.*\d)(?=.*[a-z])(\w+\s?)*)\Z", "abc 1 " * 500 + "!", "False"),
        (r"(?:(a+)+\1)\Z", "a" * 4000 + "!", "too hard"),
        (r"(?:((a{0,100}){0,100}){0,100})\Z", "b", "too hard"),
    ],
)
def test_no_pattern_runs_away(pattern: str, text: str, answer: str) -> None:
    command = [sys.executable, "-c", PROGRAM, pattern, text]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout.strip() == answer


PIECES = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", r"\w", r"\b", "^", "$", "(?=a)", "(?!b)", "(?<=a)", "(?i:A)", r"[\d-]"])
PATTERNS = st.recursive(
    PIECES,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(lambda two: f"(?:{two[0]}){two[1]}")
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(PATTERNS, st.text("abA1-\n", max_size=6))
def test_the_walk_answers_as_python_does(pattern: str, text: str) -> None:
    expression = re.compile(rf"(?:{pattern})\Z")
    walk = matching._Walk(matching._PARSER.parse(expression.pattern, expression.flags), expression.flags, text)
    assert walk.is_match() is (expression.match(text) is not None)
